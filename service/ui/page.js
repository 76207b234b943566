// The page: a picture goes to the service, its classes come back and lie over it.

import { takePicture } from "./camera.js";
import { listen } from "./intake.js";
import { askForKey, hideFault, hideWaiting, notice, say, showFault, showWaiting, size } from "./messages.js";
import { showModel } from "./model.js";
import { readGrey } from "./png.js";
import { Result } from "./result.js";
import { Fault, key, segment, stages } from "./service.js";

const at = (id) => document.getElementById(id);
const MAPS = { format: "json", masks: "none", maps: "true" };
const HEAD_BYTES = 262_144; // metadata stand before a JPEG's pixels, in segments of up to 64 KB
const HOPELESS = [400, 413, 415, 422]; // the same picture would get the same answer

const result = new Result();
let card = null; // GET /v1/model
let underway = null; // AbortController of the picture being asked for
let unanswered = null; // what to do again once there is a key

async function loadCard() {
  at("links").hidden = key.value !== ""; // a link carries no key
  card = (await showModel(seekKey)) ?? card;
}

function seekKey() {
  at("links").hidden = true;
  askForKey(key.value !== "", (value) => {
    key.set(value);
    loadCard();
    unanswered?.();
    unanswered = null;
  });
}

// ---- a picture comes in

async function take(file, onDisk) {
  underway?.abort();
  const control = new AbortController();
  underway = control;
  hideFault();
  notice("");
  const again = () => take(file, onDisk);
  const stop = () => cancel(control);
  try {
    if (card && file.size > card.limits.max_body_bytes) throw tooLarge(file);
    const seen = await asTheBrowserSees(file);
    if (control.signal.aborted) return;
    const shape = [seen?.width, seen?.height];
    enter(seen);
    seen?.close(); // a large picture is a few hundred megabytes, and drawn by now
    showWaiting("Labelling every pixel …", stop);
    const started = performance.now();
    const response = await segment(file, MAPS, control.signal, (fault, seconds, now) => {
      showWaiting(`${fault.message} Trying again in ${Math.ceil(seconds)} s.`, stop, now);
    });
    const answer = await response.json();
    const took = performance.now() - started;
    const [labels, confidence] = await Promise.all([readGrey(answer.label_map), readGrey(answer.confidence_map)]);
    if (shape[0] !== answer.width || shape[1] !== answer.height) {
      const other = await asTheServiceSees(file, control.signal);
      result.clear();
      result.stage.showPicture(other, answer.width, answer.height);
    }
    if (control.signal.aborted) return;
    const picture = { file, onDisk, name: file.name || "picture" };
    result.present(picture, answer, { labels: labels.data, confidence: confidence.data }, stages(response), took);
  } catch (error) {
    if (control.signal.aborted) return;
    leave();
    tell(error, again);
  } finally {
    if (underway === control) {
      underway = null;
      hideWaiting();
    }
  }
}

/** The picture, upright; null where the browser cannot read this kind of file (TIFF, PPM) or may not turn it upright. */
async function asTheBrowserSees(file) {
  try {
    if (await mayLieOtherwise(file)) return null;
    return await createImageBitmap(file, { imageOrientation: "from-image" });
  } catch {
    return null;
  }
}

/**
 * Whether the file may hold an orientation that the service follows and browsers pass over: any in a WebP (told by
 * its flags of EXIF and XMP: WebP container specification, chapter "Extended File Format"), in other files that of XMP.
 * Half a turn leaves the size as it is, so the picture's shape does not tell.
 */
async function mayLieOtherwise(file) {
  const head = await file.slice(0, HEAD_BYTES).arrayBuffer();
  const letters = new TextDecoder("latin1").decode(head);
  if (letters.startsWith("RIFF") && letters.slice(8, 16) === "WEBPVP8X") return (new Uint8Array(head)[20] & 0b1100) !== 0;
  return /tiff:Orientation(="|>)[2-8]/.test(letters);
}

/** For what the browser cannot read, may not turn upright, or reads in another size: a cut-out of all classes is the picture itself. */
async function asTheServiceSees(file, signal) {
  const response = await segment(file, { format: "rgba" }, signal, () => {});
  return createImageBitmap(await response.blob());
}

function tooLarge(file) {
  return new Fault(413, {
    code: "body_too_large",
    message: `The file has ${size(file.size)}; the service takes up to ${size(card.limits.max_body_bytes)}.`,
    hint: "Send a smaller file; JPEG or WebP takes less room than PNG or TIFF.",
  });
}

/** Make room for a picture; what is on screen stays until there is something new to see. */
function enter(seen) {
  at("welcome").hidden = true;
  at("work").hidden = false;
  if (seen) {
    result.clear();
    result.stage.showPicture(seen, seen.width, seen.height);
  } else if (!result.picture) result.stage.showNothing(3, 2);
  at("frame").focus({ preventScroll: true });
  at("frame").scrollIntoView({ block: "nearest" });
}

/** With nothing to look at: back to the beginning. */
function leave() {
  if (result.picture) return;
  at("welcome").hidden = false;
  at("work").hidden = true;
}

function cancel(control) {
  control.abort();
  hideWaiting();
  leave();
  say("Cancelled");
}

function tell(error, again) {
  if (!(error instanceof Fault)) {
    console.error(error);
    const words = { status: 0, code: "page", message: "This page could not show the answer.", hint: "Reload it, then try again." };
    return showFault(words, again);
  }
  if (error.status === 401) {
    unanswered = again;
    return seekKey();
  }
  showFault(error, HOPELESS.includes(error.status) ? null : again);
}

async function photograph() {
  notice("");
  if (!navigator.mediaDevices?.getUserMedia) {
    notice("Browsers lend the camera to https pages and localhost alone. Choose a picture instead; phones offer their camera there.");
    return at("capture").click();
  }
  try {
    const file = await takePicture(at("camera"), at("camera-video"), at("camera-take"), at("camera-close"));
    if (file) take(file, false);
  } catch (error) {
    notice(`${error.message} You can choose a picture instead.`);
  }
}

// ---- and goes out

async function download(button) {
  const { format } = button.dataset;
  const name = result.fileName(format);
  button.disabled = true;
  notice("");
  try {
    const { signal } = new AbortController();
    const response = await segment(result.picture.file, result.options(format), signal, (fault, seconds) => {
      notice(`${fault.message} Trying again in ${Math.ceil(seconds)} s.`);
    });
    const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(await response.blob()), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    notice("");
  } catch (error) {
    tell(error, () => (hideFault(), download(button)));
  } finally {
    button.disabled = !result.offers(format); // the last class may have been hidden meanwhile
  }
}

async function copy(button) {
  const line = at("command");
  try {
    await navigator.clipboard.writeText(line.textContent);
  } catch {
    // Pages that are not https or localhost have no clipboard: select the line and use the old way.
    getSelection().selectAllChildren(line);
    if (!document.execCommand("copy")) return notice("The line is selected: copy it with Ctrl C.");
  }
  button.textContent = "Copied";
  say("Copied");
  setTimeout(() => (button.textContent = "Copy"), 2000);
}

listen([at("file"), at("capture")], at("drop"), take, notice);
const onClick = (selector, action) => {
  for (const button of document.querySelectorAll(selector)) button.addEventListener("click", () => action(button));
};
onClick("[data-act=choose]", () => at("file").click());
onClick("[data-act=camera]", photograph);
onClick("[data-format]", download);
onClick("#copy", copy);
loadCard();
