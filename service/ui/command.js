// The line for a shell that gives what is on screen.

/** Text as one word of a POSIX shell. */
export function quoted(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** A curl line: the picture's bytes to this address, the answer into a file. A key is never written out. */
export function curlLine(address, pictureName, outName, keyed) {
  const words = ["curl --fail-with-body"];
  if (keyed) words.push('-H "X-API-Key: $API_KEY"');
  // ./ before a name that curl would take for something else
  const name = pictureName === "-" ? "./-" : pictureName;
  words.push(`--data-binary ${quoted(`@${name}`)}`, quoted(address), `-o ${quoted(outName.replace(/^-/, "./-"))}`);
  return words.join(" ");
}

/** A picture's name without its ending. */
export function stem(name) {
  return name.replace(/\.[^.]*$/, "") || "picture";
}
