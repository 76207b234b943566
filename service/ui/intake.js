// Ways for a picture to get in: chosen, dropped, pasted.

/**
 * Listen for pictures.
 *
 * onPicture(file, onDisk) gets each; onDisk says whether the person has it as a file. onRefused(text) is
 * told why something dropped or pasted is none.
 */
export function listen(inputs, curtain, onPicture, onRefused) {
  for (const input of inputs) {
    input.addEventListener("change", () => {
      if (input.files.length) onPicture(input.files[0], !input.hasAttribute("capture"));
      input.value = ""; // so that the same file can be chosen again
    });
  }

  let depth = 0; // dragenter and dragleave come for every element on the way
  const curtained = (change) => {
    depth = Math.max(0, change === 0 ? 0 : depth + change);
    curtain.hidden = depth === 0;
  };
  const holdsFiles = (event) => event.dataTransfer.types.includes("Files"); // and no text or link of this page
  addEventListener("dragenter", (event) => (event.preventDefault(), holdsFiles(event) && curtained(1)));
  addEventListener("dragleave", (event) => holdsFiles(event) && curtained(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    curtained(0);
    const files = [...event.dataTransfer.files];
    if (!files.length) return onRefused("What was dropped is no file. Save the picture first, then drop the file; addresses are not fetched.");
    onPicture(files[0], true);
    if (files.length > 1) onRefused(`${files.length} files were dropped; this is the first. For many, use the command fcn predict.`);
  });

  addEventListener("paste", (event) => {
    if (event.target.matches?.("input, textarea")) return;
    const [file] = event.clipboardData.files;
    if (!file) return onRefused("The clipboard holds no picture. Copy a picture itself; addresses are not fetched.");
    event.preventDefault();
    onPicture(new File([file], `pasted${file.name.match(/\.\w+$/)?.[0] ?? ".png"}`, { type: file.type }), false);
  });
}
