// One picture from the camera, in a dialog of its own.

/**
 * Resolves to a File, or to null when the person closed the dialog.
 * Throws an Error with words for the person when there is no camera to be had.
 */
export async function takePicture(dialog, video, takeButton, closeButton) {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", width: { ideal: 1920 } } });
  } catch (error) {
    throw new Error(REASONS[error.name] ?? `The camera cannot be used (${error.name}).`);
  }
  try {
    video.srcObject = stream;
    dialog.showModal();
    takeButton.disabled = true;
    video.onloadeddata = () => (takeButton.disabled = false);
    const taken = await pressed(dialog, takeButton, closeButton);
    return taken ? await photograph(video) : null;
  } finally {
    for (const track of stream.getTracks()) track.stop();
    video.srcObject = null;
    dialog.close();
  }
}

const REASONS = {
  NotAllowedError: "The camera was not allowed. The browser's settings for this site can change that.",
  NotFoundError: "No camera was found.",
  NotReadableError: "Another program uses the camera.",
};

function pressed(dialog, takeButton, closeButton) {
  return new Promise((resolve) => {
    takeButton.onclick = () => resolve(true);
    closeButton.onclick = () => resolve(false);
    dialog.oncancel = (event) => (event.preventDefault(), resolve(false)); // the Escape key
  });
}

async function photograph(video) {
  const canvas = document.createElement("canvas");
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  canvas.getContext("2d").drawImage(video, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.95));
  return new File([blob], "camera.jpg", { type: "image/jpeg" });
}
