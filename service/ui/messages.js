// What the page says: faults with what to do, the key that is asked for, notices, and words for screen readers.

const TITLES = {
  0: "No answer",
  400: "The picture did not arrive whole",
  401: "A key is needed",
  403: "This key may not do that",
  408: "The picture took too long to arrive",
  413: "This picture is too large",
  415: "This is no picture the service can read",
  422: "This picture cannot be used",
  429: "Too many pictures at once",
  503: "The service is not ready",
  504: "This picture took too long",
};

const at = (id) => document.getElementById(id);

/** Show a fault; again is called by its button, or is null when trying again makes no sense. */
export function showFault({ status, code, message, hint, requestId }, again) {
  at("fault-title").textContent = TITLES[status] ?? "That did not work";
  at("fault-text").textContent = hint ? `${message} ${hint}` : message;
  at("fault-trace").textContent = [status || "", code, requestId && `request ${requestId}`].filter(Boolean).join(" · ");
  at("fault-again").hidden = !again;
  at("fault-again").onclick = again;
  at("fault-close").onclick = hideFault;
  at("fault").hidden = false;
}

export function hideFault() {
  at("fault").hidden = true;
}

/** Ask for a key; used(value) is called with it. */
export function askForKey(refused, used) {
  const form = at("key");
  const input = at("key-value");
  at("key-title").textContent = refused ? "This key was not accepted" : "This service asks for a key";
  form.hidden = false;
  input.focus();
  input.select();
  form.onsubmit = (event) => {
    event.preventDefault();
    if (!input.value.trim()) return;
    form.hidden = true;
    used(input.value.trim());
  };
}

/** A passing remark; an empty text takes it away. */
export function notice(text) {
  at("notice").textContent = text;
}

/** For screen readers alone. */
export function say(text) {
  at("spoken").textContent = text;
}

/** What is being waited for, over the picture. now: what the button "Try now" does, or null for none. */
export function showWaiting(text, cancel, now = null) {
  at("waiting-text").textContent = text;
  at("waiting-cancel").onclick = cancel;
  at("waiting-now").hidden = !now;
  at("waiting-now").onclick = now;
  at("waiting").hidden = false;
}

export function hideWaiting() {
  at("waiting").hidden = true;
}

/** Bytes as people read them. */
export function size(bytes) {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1).replace(/\.0$/, "")} MB`;
}
