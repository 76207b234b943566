// What came back for one picture: its classes over it, beside it, and as a line for a shell.

import { curlLine, stem } from "./command.js";
import { css, Legend, percent } from "./legend.js";
import { say } from "./messages.js";
import { key, segmentAddress } from "./service.js";
import { Stage } from "./stage.js";

const at = (id) => document.getElementById(id);
const ENDINGS = { png: "-labels.png", overlay: "-overlay.png", confidence: "-confidence.png", rgba: "-cutout.png", json: ".json" };
const SELECTIVE = ["overlay", "confidence", "rgba"]; // of these a person wants the classes that are shown
const OF_CLASSES = ["confidence", "rgba"]; // of no class there is none, and no option that asks for it
const VIEWS = () => document.getElementsByName("view");

function duration(milliseconds) {
  return milliseconds < 1000 ? `${milliseconds.toFixed(0)} ms` : `${(milliseconds / 1000).toFixed(1)} s`;
}

export class Result {
  #classes = new Map(); // id to the answer's entry, largest share first
  #shown = new Set();
  #painting = false;

  constructor() {
    this.picture = null; // {file, name, onDisk} while there are classes on screen
    const parts = { frame: at("frame"), picture: at("picture"), overlay: at("overlay"), crosshair: at("crosshair") };
    this.stage = new Stage(
      parts,
      (point, how, event) => this.#tell(point, how, event),
      (id) => this.#classes.has(id) && this.#showOnly(id),
      () => this.#show(this.#classes.keys()),
    );
    this.legend = new Legend(at("legend"), (id) => this.#toggle(id), (id) => this.#showOnly(id));
    at("opacity").addEventListener("input", () => this.#update());
    for (const view of VIEWS()) view.addEventListener("change", () => this.#update());
    at("all").addEventListener("click", () => this.#show(this.#classes.keys()));
    at("none").addEventListener("click", () => this.#show([]));
  }

  /** Take the classes off the screen. */
  clear() {
    this.picture = null;
    this.#classes.clear();
    this.stage.clearMaps();
    at("panel").hidden = true;
    at("tip").hidden = true;
    at("readout").textContent = "";
  }

  /** Show an answer. maps: {labels, confidence}; timing: [stage, milliseconds] pairs; took: milliseconds in all. */
  present(picture, answer, maps, timing, took) {
    this.picture = picture;
    const classes = [...answer.classes].sort((one, other) => other.pixels - one.pixels || one.id - other.id);
    this.#classes = new Map(classes.map((entry) => [entry.id, entry]));
    this.stage.showMaps(answer.width, answer.height, maps.labels, maps.confidence);
    this.legend.fill(classes);
    at("summary").textContent = `${classes.length} ${classes.length === 1 ? "class" : "classes"}`;
    at("size").textContent = `${answer.width} × ${answer.height} pixels, answered in ${duration(took)}`;
    at("timing").textContent = timing.map(([name, milliseconds]) => `${name} ${duration(milliseconds)}`).join(" · ");
    at("readout").textContent = "Point at the picture, tap it, or use the arrow keys.";
    this.#offerOriginal(picture);
    at("panel").hidden = false;
    this.#show(this.#classes.keys());
    const largest = classes.slice(0, 5).map((entry) => `${entry.name} ${percent(entry.share)}`);
    say(`Done. ${at("summary").textContent}: ${largest.join(", ")}.`);
  }

  /** Options that make the service give what is on screen. */
  options(format) {
    const options = { format };
    if (format === "overlay") options.opacity = this.#shown.size ? this.#opacity : 0;
    const some = this.#shown.size > 0 && this.#shown.size < this.#classes.size;
    if (some && SELECTIVE.includes(format)) {
      const shown = [...this.#classes.values()].filter(({ id }) => this.#shown.has(id));
      const byName = shown.every(({ name }) => !name.includes(",")); // commas part the names
      options.classes = shown.map(({ id, name }) => (byName ? name : id)).join(",");
    }
    return options;
  }

  /** Whether the service can give what is on screen in this form. */
  offers(format) {
    return this.#shown.size > 0 || !OF_CLASSES.includes(format);
  }

  /** The name of a file for an answer of this form. */
  fileName(format) {
    return stem(this.picture.name) + ENDINGS[format];
  }

  /** The form of answer that is on screen. */
  get #format() {
    return VIEWS()[1].checked ? "confidence" : "overlay";
  }

  get #opacity() {
    return Number(at("opacity").value) / 100;
  }

  #line(format) {
    const address = segmentAddress(this.options(format)).href;
    return curlLine(address, this.picture.name, this.fileName(format), key.value !== "");
  }

  #toggle(id) {
    const shown = new Set(this.#shown);
    if (!shown.delete(id)) shown.add(id);
    this.#show(shown);
  }

  /** This class alone; the same once more: all. */
  #showOnly(id) {
    const alone = this.#shown.size === 1 && this.#shown.has(id);
    this.#show(alone ? this.#classes.keys() : [id]);
  }

  #show(ids) {
    this.#shown = new Set(ids);
    this.#update();
  }

  #update() {
    at("opacity-value").textContent = `${at("opacity").value} %`;
    if (!this.picture) return;
    const [first] = this.#shown;
    this.legend.update(this.#shown, this.#shown.size === 1 && this.#classes.size > 1 ? first : null);
    for (const form of OF_CLASSES) document.querySelector(`[data-format=${form}]`).disabled = !this.offers(form);
    at("none-shown").hidden = this.#shown.size > 0;
    const format = this.#format;
    at("opacity").disabled = format === "confidence"; // it is a picture of its own
    at("copy").disabled = !this.offers(format);
    at("command").textContent = this.offers(format) ? this.#line(format) : "# Show a class: without one there is no confidence.";
    if (this.#painting) return; // a slider moves faster than a large picture is painted
    this.#painting = true;
    requestAnimationFrame(() => {
      this.#painting = false;
      const shown = [...this.#shown].filter((id) => this.#classes.has(id));
      if (this.#format === "confidence") this.stage.paintConfidence(shown);
      else this.stage.paint(new Map(shown.map((id) => [id, this.#classes.get(id).colour])), this.#opacity);
    });
  }

  /** A picture that came from the camera or the clipboard is nowhere else: offer it, the shell line needs a file. */
  #offerOriginal({ file, name, onDisk }) {
    const link = at("original");
    if (link.href) URL.revokeObjectURL(link.href);
    link.hidden = onDisk;
    if (!onDisk) Object.assign(link, { href: URL.createObjectURL(file), download: name });
  }

  /** A point of the picture, in words. */
  #tell(point, how, event) {
    const entry = point && this.#classes.get(point.id);
    const tip = at("tip");
    tip.hidden = !entry || how !== "pointer";
    this.legend.mark(entry ? point.id : null);
    if (!entry) return;
    const sure = `${Math.round(point.confidence * 100)} %`;
    const readout = at("readout");
    readout.setAttribute("aria-live", how === "pointer" ? "off" : "polite"); // a passing mouse is not read out
    readout.replaceChildren(Object.assign(document.createElement("b"), { textContent: entry.name }));
    readout.append(`, ${sure} sure, at ${point.x}, ${point.y}${this.#shown.has(point.id) ? "" : " (hidden)"}`);
    if (!tip.hidden) this.#place(tip, entry, sure, event);
  }

  #place(tip, entry, sure, event) {
    tip.style.setProperty("--colour", css(entry.colour));
    tip.querySelector("b").textContent = entry.name;
    tip.querySelector("span").textContent = sure;
    const box = at("frame").getBoundingClientRect();
    const [x, y] = [event.clientX - box.left, event.clientY - box.top];
    const left = x + 18 + tip.offsetWidth < box.width ? x + 18 : Math.max(0, x - 18 - tip.offsetWidth);
    const top = y + 18 + tip.offsetHeight < box.height ? y + 18 : Math.max(0, y - 18 - tip.offsetHeight);
    tip.style.transform = `translate(${left}px, ${top}px)`;
  }
}
