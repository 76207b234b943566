// Reads an 8-bit greyscale PNG, value by value. Not by a canvas: some browsers add noise to what is read back
// from one, against fingerprints, and a label of 3 would come back as 4.

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];

/** Bytes of a PNG, as base64, to {width, height, data}: one byte a pixel, row by row. */
export async function readGrey(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  if (SIGNATURE.some((byte, index) => bytes[index] !== byte)) throw new Error("no PNG");
  const view = new DataView(bytes.buffer);
  const parts = [];
  let header = null;
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const body = bytes.subarray(at + 8, at + 8 + length);
    if (kind === "IHDR") header = { width: view.getUint32(at + 8), height: view.getUint32(at + 12), form: body.slice(8) };
    if (kind === "IDAT") parts.push(body);
    at += 12 + length;
  }
  const [depth, colour, , , interlaced] = header?.form ?? [];
  if (depth !== 8 || colour !== 0 || interlaced !== 0) throw new Error("no plain 8-bit greyscale PNG");
  const { width, height } = header;
  return { width, height, data: await unfilter(new Blob(parts), width, height) };
}

/** Inflate row by row, so that a large picture is in memory once. */
async function unfilter(compressed, width, height) {
  const data = new Uint8Array(width * height);
  const row = new Uint8Array(width + 1); // a filter's number, then the filtered row
  let filled = 0;
  let y = 0;
  const reader = compressed.stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
    for (let at = 0; at < value.length && y < height; ) {
      const taken = Math.min(row.length - filled, value.length - at);
      row.set(value.subarray(at, at + taken), filled);
      filled += taken;
      at += taken;
      if (filled === row.length) {
        restore(row, data, y++, width);
        filled = 0;
      }
    }
  }
  if (y < height) throw new Error("a PNG that ends early");
  return data;
}

/** Undo one row's filter (PNG specification, chapter 9) with one byte a pixel. */
function restore(row, data, y, width) {
  const to = y * width;
  const above = to - width;
  for (let x = 0; x < width; x++) {
    const left = x ? data[to + x - 1] : 0;
    const up = y ? data[above + x] : 0;
    const corner = x && y ? data[above + x - 1] : 0;
    data[to + x] = row[x + 1] + guess(row[0], left, up, corner);
  }
}

function guess(filter, left, up, corner) {
  switch (filter) {
    case 0: return 0;
    case 1: return left;
    case 2: return up;
    case 3: return (left + up) >> 1;
    case 4: return paeth(left, up, corner);
    default: throw new Error(`a PNG with filter ${filter}`);
  }
}

function paeth(left, up, corner) {
  const estimate = left + up - corner;
  const [toLeft, toUp, toCorner] = [Math.abs(estimate - left), Math.abs(estimate - up), Math.abs(estimate - corner)];
  if (toLeft <= toUp && toLeft <= toCorner) return left;
  return toUp <= toCorner ? up : corner;
}
