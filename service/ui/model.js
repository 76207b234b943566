// The model in service: its name, version and score in the page's head, and the limits it sets.

import { modelCard } from "./service.js";
import { size } from "./messages.js";

const at = (id) => document.getElementById(id);

/** GET /v1/model, shown; asked again while the model is being loaded. onKey is called when a key is asked for. */
export async function showModel(onKey) {
  try {
    const card = await modelCard();
    draw(card);
    return card;
  } catch (fault) {
    if (fault.status === 401) {
      onKey();
      return null;
    }
    at("model").textContent = fault.passing ? "The model is being loaded …" : "The model does not answer";
    await new Promise((resolve) => setTimeout(resolve, (fault.retryAfter ?? 10) * 1000));
    return showModel(onKey);
  }
}

function draw({ name, version, scores, limits }) {
  const parts = [element("b", name), element("code", version)];
  if (typeof scores?.miou === "number") {
    parts.push(element("span", `${scores.split ?? ""} mIoU ${(scores.miou * 100).toFixed(1)} %`.trim()));
  }
  at("model").replaceChildren(...parts);
  at("limits").textContent = `Up to ${size(limits.max_body_bytes)} and ${Math.floor(limits.max_pixels / 1e6)} megapixels.`;
}

function element(name, textContent) {
  return Object.assign(document.createElement(name), { textContent });
}
