// The service over HTTP: its model, a picture's answer, and what went wrong, in words.

const KEY = "fcn-api-key";

/** What the service (or the way to it) said instead of an answer. */
export class Fault extends Error {
  constructor(status, { code, message, hint = "" }, requestId = "", retryAfter = null) {
    super(message);
    Object.assign(this, { status, code, hint, requestId, retryAfter });
  }

  /** Whether the same request may well be answered a little later. */
  get passing() {
    return (this.status === 503 || this.status === 429) && this.retryAfter !== null;
  }
}

/** The key for X-API-Key: in this tab's session alone. Storage can be forbidden; then it lives as long as the page. */
export const key = {
  value: stored(() => sessionStorage.getItem(KEY)) ?? "",
  set(value) {
    this.value = value;
    stored(() => (value ? sessionStorage.setItem(KEY, value) : sessionStorage.removeItem(KEY)));
  },
};

function stored(action) {
  try {
    return action();
  } catch {
    return null;
  }
}

/** GET /v1/model. */
export async function modelCard(signal) {
  return (await ask("v1/model", { signal })).json();
}

/** The address of POST /v1/segment with options. Commas stay readable: the shell line shows this very address. */
export function segmentAddress(options) {
  const words = Object.entries(options).map(([name, value]) => `${name}=${encodeURIComponent(value).replaceAll("%2C", ",")}`);
  return new URL(`v1/segment?${words.join("&")}`, document.baseURI);
}

/**
 * Ask for one answer; while the service is busy, wait as long as it says and ask again.
 *
 * onBusy(fault, seconds, now) is called before each wait; calling now() ends the wait.
 * Returns the response, its body unread. Throws a Fault, or an AbortError when the signal says so.
 */
export async function segment(picture, options, signal, onBusy) {
  for (;;) {
    try {
      return await ask(segmentAddress(options), { method: "POST", body: picture, signal });
    } catch (fault) {
      if (!(fault instanceof Fault && fault.passing)) throw fault;
      await pause(fault, signal, onBusy);
    }
  }
}

/** Milliseconds of each stage, from Server-Timing. */
export function stages(response) {
  const header = response.headers.get("Server-Timing") ?? "";
  return [...header.matchAll(/([\w-]+);dur=([\d.]+)/g)].map(([, name, milliseconds]) => [name, Number(milliseconds)]);
}

function pause(fault, signal, onBusy) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, fault.retryAfter * 1000);
    onBusy(fault, fault.retryAfter, () => (clearTimeout(timer), resolve()));
    signal.addEventListener("abort", () => (clearTimeout(timer), reject(signal.reason)), { once: true });
  });
}

async function ask(address, options) {
  const headers = key.value ? { "X-API-Key": key.value } : {};
  let response;
  try {
    response = await fetch(address, { ...options, headers, cache: "no-store" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Fault(0, {
      code: "no_connection",
      message: "The service did not answer, or the file could not be read.",
      hint: "Check that the service runs and that the file is still there, then try again.",
    });
  }
  if (response.ok) return response;
  throw await faultOf(response);
}

async function faultOf(response) {
  const requestId = response.headers.get("X-Request-Id") ?? "";
  const after = Number.parseFloat(response.headers.get("Retry-After") ?? "");
  const retryAfter = Number.isFinite(after) ? Math.max(after, 0.5) : null;
  try {
    const { error } = await response.json();
    if (typeof error.message === "string") return new Fault(response.status, error, requestId, retryAfter);
  } catch {
    // not the service's own words: a proxy stands between
  }
  const words = {
    code: `http_${response.status}`,
    message: `The answer was ${response.status} ${response.statusText} and did not come from the service itself.`,
    hint: "Something stands between this page and the service; ask whoever runs it.",
  };
  return new Fault(response.status, words, requestId, retryAfter);
}
