"""Kernels taken apart: what is known of the bilinear one, and of others made by hand."""

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from model.compare.config import Arm
from model.compare.cost import count_multiplications, count_parameters
from model.compare.impulses import impulses
from model.compare.kernels import (
    bilinear,
    checkerboard,
    frequencies,
    frequency_response,
    kernel_facts,
    phase_sums,
    separability,
    symmetry,
)
from model.compare.stack import UpsamplerStack, score_maps
from model.fcn import FCN
from model.upsample import make_upsampler


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("name", ["bilinear", "learned", "learned-dense"])
def test_an_impulse_through_a_bilinear_start_gives_the_bilinear_kernel(name: str, factor: int) -> None:
    found = impulses(make_upsampler(name, 3, factor), 3)  # type: ignore[arg-type]
    assert found.kernels.shape == (3, 3 * factor, 3 * factor)
    assert np.allclose(found.kernels, bilinear(factor), atol=1e-6)
    assert found.across == 0


def test_energy_between_classes_is_seen() -> None:
    upsampler = make_upsampler("learned-dense", 2, 2)
    with torch.no_grad():
        next(upsampler.parameters())[0, 1] = next(upsampler.parameters())[0, 0]
    assert impulses(upsampler, 2).across == pytest.approx(1 / 3)


@pytest.mark.parametrize("factor", [2, 8, 32])
def test_the_bilinear_kernel_is_even_symmetric_and_separable(factor: int) -> None:
    kernel = bilinear(factor)
    facts = kernel_facts(kernel[None], kernel[None], 0.0, factor)
    assert facts.drift == facts.moved == 0
    assert facts.gain == pytest.approx(1)
    assert facts.symmetry == pytest.approx(1)
    assert facts.separability == pytest.approx(1)
    assert facts.checkerboard == pytest.approx(0, abs=1e-9)


def test_measures_of_kernels_made_by_hand() -> None:
    one = np.zeros((6, 6))
    one[2, 2] = 1  # alone in its phase: a constant map comes out as one pixel of four
    assert phase_sums(one, 2).tolist() == [[1, 0], [0, 0]]
    assert checkerboard(one, 2) == pytest.approx(np.std([1, 0, 0, 0]) / 0.25)
    assert symmetry(one) == pytest.approx(1 / 4)  # its eight images fall on four places
    assert separability(one) == pytest.approx(1)
    assert separability(np.eye(4)) == pytest.approx(1 / 4)
    assert kernel_facts(bilinear(2)[None], 2 * bilinear(2)[None], 0.0, 2).drift == pytest.approx(1)


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_the_bilinear_response_is_the_squared_dirichlet_kernel(factor: int) -> None:
    f = frequencies()[1:]
    expected = (np.sin(np.pi * f) / (factor * np.sin(np.pi * f / factor))) ** 2
    if factor % 2 == 0:
        expected *= np.cos(np.pi * f / factor)
    found = frequency_response(bilinear(factor), factor)
    assert found[0] == pytest.approx(1)
    assert np.allclose(found[1:], np.abs(expected), atol=1e-9)


def random_upsampler(name: str, factor: int) -> torch.nn.Module:
    """Of one class, moved far from its start."""
    torch.manual_seed(factor)
    upsampler = make_upsampler(name, 1, factor)  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in upsampler.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return upsampler


@pytest.mark.parametrize("factor", [2, 3, 4, 8])
@pytest.mark.parametrize("name", ["learned", "pixel-shuffle"])
def test_phase_sums_and_checkerboard_are_what_an_upsampler_makes_of_a_constant_map(name: str, factor: int) -> None:
    upsampler = random_upsampler(name, factor)
    kernel = impulses(upsampler, 1).kernels[0].astype(np.float64)
    with torch.no_grad():
        constant = upsampler(torch.ones(1, 1, 7, 7))[0, 0].numpy()
    # The middle pixel of the map, far from what is added at the borders.
    middle = constant[3 * factor : 4 * factor, 3 * factor : 4 * factor]
    assert np.allclose(phase_sums(kernel, factor), middle, atol=1e-5)
    expected = middle.std() / abs(middle.mean())
    assert checkerboard(kernel, factor) == pytest.approx(expected, rel=1e-4)
    assert expected > 0.01


@pytest.mark.parametrize("shape", [(6, 6), (5, 9), (1, 4)])
@pytest.mark.parametrize("factor", [2, 3])
def test_the_frequency_response_is_the_fourier_transform_of_the_kernels_profile(
    shape: tuple[int, int], factor: int
) -> None:
    kernel = np.random.default_rng(factor).normal(size=shape)
    # 64 s points put the FFT's frequencies at multiples of 1 / 64 cycle a coarse pixel: 0 to 1 are the first 65.
    spectrum = np.fft.fft2(kernel, s=(shape[0], 64 * factor))[0, :65]
    assert np.allclose(frequency_response(kernel, factor), np.abs(spectrum) / factor**2)


@pytest.mark.parametrize("factor", [2, 3, 4])
@pytest.mark.parametrize("cycles", [4, 10, 16, 27])
def test_the_frequency_response_is_the_gain_of_a_wave_that_is_upsampled_and_of_its_image(
    factor: int, cycles: int
) -> None:
    period = 64
    upsampler = random_upsampler("learned", factor)
    kernel = impulses(upsampler, 1).kernels[0].astype(np.float64)
    places = torch.arange(3 * period, dtype=torch.float32)
    wave = torch.cos(2 * torch.pi * cycles * places / period).expand(1, 1, 7, -1)
    with torch.no_grad():
        # Whole periods from the middle; in the vertical the mean over a coarse pixel's rows.
        rows = upsampler(wave)[0, 0, 3 * factor : 4 * factor, period * factor : 2 * period * factor]
    spectrum = np.abs(np.fft.fft(rows.numpy().mean(axis=0))) / (period * factor / 2)
    response = frequency_response(kernel, factor)
    assert spectrum[cycles] == pytest.approx(response[cycles], abs=1e-4)
    image = period - cycles  # beyond one half a cycle lies the wave's image
    assert spectrum[image] == pytest.approx(response[image], abs=1e-4)


@pytest.mark.parametrize("name", ["learned", "learned-dense", "pixel-shuffle"])
@pytest.mark.parametrize("stride", [32, 8])
def test_multiplications_agree_with_the_operations_that_torch_counts(name: str, stride: int) -> None:
    classes = 3
    stack = UpsamplerStack(name, classes, stride)  # type: ignore[arg-type]
    maps = [torch.zeros(1, classes, 2 * 2**level, 3 * 2**level) for level in range(6 - stride.bit_length() + 1)]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        stack(maps)
    found = count_multiplications(stack.modules_in_order(), classes, (64, 96))
    # torch counts a multiplication and an addition each.
    assert found == counter.get_total_flops() // 2


def test_a_dynamic_sampler_costs_its_projections_and_its_taps() -> None:
    # 2x3 coarse pixels, s = 2, 3 classes: 2 projections of 3 to 8 channels, then 2 products and 2 scalings
    # and 4 taps of 3 classes at each of 24 fine pixels.
    assert count_multiplications([make_upsampler("dysample", 3, 2)], 3, (64, 96)) == 6 * 2 * 3 * 8 + 24 * (4 + 12)


def test_fixed_upsamplers_cost_their_taps() -> None:
    modules = [make_upsampler("bilinear", 3, 32)]
    assert count_multiplications(modules, 3, (33, 64)) == 4 * 3 * 64 * 64
    assert count_multiplications([make_upsampler("nearest", 3, 32)], 3, (32, 32)) == 0


@pytest.mark.parametrize("stride", [32, 16, 8, 4])
def test_a_stack_on_stored_maps_answers_as_the_whole_network(stride: int) -> None:
    torch.manual_seed(0)
    network = FCN("resnet18", "none", 3, stride, "learned", head_channels=4).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.add_(0.02 * torch.randn_like(parameter))
    image = torch.randint(0, 256, (1, 3, 50, 70), dtype=torch.uint8)
    stack = UpsamplerStack("learned", 3, stride)
    for ours, theirs in zip(stack.modules_in_order(), network.upsampler_modules(), strict=True):
        ours.load_state_dict(theirs.state_dict())
    with torch.inference_mode():
        expected = network(image)
        found = stack(score_maps(network, image))[..., :50, :70]
    assert torch.allclose(found, expected, atol=1e-5)
    assert count_parameters(network)["upsamplers"] == sum(p.numel() for p in stack.parameters())
    other = FCN("resnet18", "none", 3, stride, "learned", head_channels=4)
    stack.put_into(other)
    for ours, theirs in zip(other.upsampler_modules(), network.upsampler_modules(), strict=True):
        assert torch.equal(next(ours.parameters()), next(theirs.parameters()))


def test_arms_are_named_as_their_files() -> None:
    assert Arm("learned-dense", 16).name == "learned-dense-16s"
