// The picture under its classes, and the point that is looked at.

const LONGEST = 2048; // longest side drawn; the maps themselves stay whole, so that a point tells its own pixel
const NOTHING = 255; // no class has this number

export class Stage {
  /**
   * parts: frame, picture, overlay (canvases), crosshair.
   * onPoint(point, how) is told of {x, y, id, confidence} in the picture's own pixels, or null;
   * how is "pointer" for a passing mouse, "placed" for a click or touch, "keys". onEnter(id): Enter on a point.
   */
  constructor(parts, onPoint, onEnter, onEscape) {
    Object.assign(this, parts, { onPoint, onEnter, onEscape, maps: null, cross: null });
    const { frame } = this;
    frame.addEventListener("pointermove", (event) => this.#move(event));
    frame.addEventListener("pointerdown", (event) => event.target.closest("button") || this.#place(this.#under(event), "placed"));
    frame.addEventListener("pointerleave", () => this.onPoint(this.cross && this.at(this.cross), "left"));
    frame.addEventListener("keydown", (event) => event.target === frame && this.#press(event));
  }

  /** Show a picture (anything a canvas draws), as yet without classes. */
  showPicture(source, width, height) {
    this.clearMaps();
    const [w, h] = this.#fit(width, height);
    const context = this.picture.getContext("2d", { alpha: false });
    context.imageSmoothingQuality = "high";
    context.fillStyle = "#fff"; // transparent pixels: the service lays them over white as well
    context.fillRect(0, 0, w, h);
    context.drawImage(source, 0, 0, w, h);
  }

  /** A frame of this shape with nothing in it. */
  showNothing(width, height) {
    this.clearMaps();
    this.#fit(width, height);
  }

  /** Lay maps of the picture's own size over it: labels and confidence, one byte a pixel. */
  showMaps(width, height, labels, confidence) {
    this.clearMaps();
    this.maps = { width, height, labels, confidence };
    const { width: w, height: h } = this.overlay;
    this.small = { labels: new Uint8Array(w * h), confidence: new Uint8Array(w * h) };
    for (let y = 0, to = 0; y < h; y++) {
      const row = Math.floor(((y + 0.5) * height) / h) * width;
      for (let x = 0; x < w; x++, to++) {
        const from = row + Math.floor(((x + 0.5) * width) / w);
        this.small.labels[to] = labels[from];
        this.small.confidence[to] = confidence[from];
      }
    }
  }

  clearMaps() {
    this.maps = null;
    this.cross = null;
    this.crosshair.hidden = true;
    this.overlay.getContext("2d").clearRect(0, 0, this.overlay.width, this.overlay.height);
  }

  /**
   * Draw the classes: colours is a Map of id to [r, g, b] of those to show. Borders are drawn in full colour,
   * where the service's overlay has them.
   */
  paint(colours, opacity) {
    if (!this.maps) return;
    const { width, height } = this.overlay;
    const seen = new Uint8Array(256).fill(NOTHING);
    const fill = new Uint32Array(256);
    const line = new Uint32Array(256);
    for (const [id, colour] of opacity > 0 ? colours : []) {
      seen[id] = id;
      fill[id] = packed(colour, Math.round(opacity * 255));
      line[id] = packed(colour, 255);
    }
    const labels = this.small.labels.map((id) => seen[id]);
    const image = new ImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    for (let y = 0, at = 0; y < height; y++) {
      const below = y + 1 < height ? width : 0;
      const above = y ? width : 0;
      for (let x = 0; x < width; x++, at++) {
        const id = labels[at];
        if (id === NOTHING) continue;
        const right = x + 1 < width ? 1 : 0;
        const left = x ? 1 : 0;
        const ends = id !== labels[at + below] || id !== labels[at + right];
        const begins = labels[at - above] === NOTHING || labels[at - left] === NOTHING;
        pixels[at] = ends || begins ? line[id] : fill[id];
      }
    }
    this.overlay.getContext("2d").putImageData(image, 0, 0);
  }

  /** Draw the confidence, black to white, of the classes with these ids; all else black, as the service does. */
  paintConfidence(ids) {
    if (!this.maps) return;
    const { width, height } = this.overlay;
    const seen = new Uint8Array(256);
    for (const id of ids) seen[id] = 1;
    const image = new ImageData(width, height);
    const pixels = new Uint32Array(image.data.buffer);
    const { labels, confidence } = this.small;
    for (let at = 0; at < pixels.length; at++) {
      const grey = seen[labels[at]] * confidence[at];
      pixels[at] = packed([grey, grey, grey], 255);
    }
    this.overlay.getContext("2d").putImageData(image, 0, 0);
  }

  /** What is at a point of the picture. */
  at({ x, y }) {
    const { width, labels, confidence } = this.maps;
    return { x, y, id: labels[y * width + x], confidence: confidence[y * width + x] / 255 };
  }

  #fit(width, height) {
    const scale = Math.min(1, LONGEST / Math.max(width, height));
    const size = [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
    for (const canvas of [this.picture, this.overlay]) [canvas.width, canvas.height] = size;
    this.overlay.classList.toggle("enlarged", Math.max(width, height) < 600);
    this.frame.style.setProperty("--ratio", width / height);
    return size;
  }

  /** The pixel under the pointer; beside a picture that does not fill the frame its nearest one, as thin ones are hard to hit. */
  #under(event) {
    if (!this.maps) return null;
    const box = this.picture.getBoundingClientRect();
    const { width, height } = this.maps;
    const x = Math.floor(((event.clientX - box.left) / box.width) * width);
    const y = Math.floor(((event.clientY - box.top) / box.height) * height);
    return { x: within(x, width), y: within(y, height) };
  }

  #move(event) {
    const point = this.#under(event);
    if (!point) return;
    if (event.pointerType === "touch") this.#place(point, "placed");
    else this.onPoint(this.at(point), "pointer", event);
  }

  #place(point, how) {
    if (!point) return;
    this.cross = point;
    const { width, height } = this.maps;
    this.crosshair.hidden = false;
    this.crosshair.style.left = `${((point.x + 0.5) / width) * 100}%`;
    this.crosshair.style.top = `${((point.y + 0.5) / height) * 100}%`;
    this.onPoint(this.at(point), how);
  }

  #press(event) {
    if (!this.maps || event.ctrlKey || event.metaKey || event.altKey) return;
    const { width, height } = this.maps;
    const step = Math.ceil(Math.max(width, height) / 100) * (event.shiftKey ? 10 : 1);
    const way = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
    if (event.key === "Escape") this.onEscape();
    else if (event.key === "Enter" && this.cross) this.onEnter(this.at(this.cross).id);
    else if (way) {
      const from = this.cross ?? { x: width >> 1, y: height >> 1 };
      const moved = this.cross ? way : [0, 0]; // the first key shows the crosshair where it is
      this.#place({ x: within(from.x + moved[0], width), y: within(from.y + moved[1], height) }, "keys");
    } else return;
    event.preventDefault();
  }
}

function within(value, size) {
  return Math.min(Math.max(value, 0), size - 1);
}

const LITTLE_ENDIAN = new Uint8Array(new Uint32Array([1]).buffer)[0] === 1;

function packed([red, green, blue], alpha) {
  return LITTLE_ENDIAN
    ? ((alpha << 24) | (blue << 16) | (green << 8) | red) >>> 0
    : ((red << 24) | (green << 16) | (blue << 8) | alpha) >>> 0;
}
