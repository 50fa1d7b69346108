// Whether the server would take a photo, asked before anybody crops it.

async function sizeOf(file) {
  try {
    const bitmap = await createImageBitmap(file);
    const size = { width: bitmap.width, height: bitmap.height };
    bitmap.close();
    return size;
  } catch { return null; }  // what the browser cannot read, the server has a sentence for
}

// Its width and height, null where only the server can tell; throws the reason why not.
export async function measured(file, { max_bytes, max_pixels, min_side, types }) {
  const refuse = (reason) => { throw new Error(`This photo cannot be used: ${reason}.`); };
  if (file.size > max_bytes) refuse(`it has more than ${max_bytes >> 20} MB: save a smaller one`);
  const size = await sizeOf(file);
  if (!size) return null;
  const { width, height } = size;
  if (file.type.startsWith("image/") && !types.includes(file.type)) {
    refuse(`it is ${file.type.slice(6).toUpperCase()}: use JPEG, PNG or WebP`);
  }
  if (width * height > max_pixels) refuse(`it has more than ${max_pixels / 1e6} million pixels: save a smaller one`);
  if (Math.min(width, height) < min_side) {
    refuse(`it has only ${width}x${height} pixels: use one of ${min_side}x${min_side} or more`);
  }
  return size;
}
