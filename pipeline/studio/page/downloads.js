// What is saved of a picture: itself enlarged, and the styles that G was given.
import { ask, fileOf } from "./requests.js";
import { painted, recipe } from "./picture.js";
import { SUFFIX, uriOf } from "./tunings.js";

export const LARGE = 1024;

const nameOf = () => ("seed" in recipe.face ? `face-${recipe.face.seed}` : "face");

function save(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

export async function enlarged() {
  const name = `${nameOf()}-${LARGE}.png`, { url } = await painted(recipe), image = new Image();
  image.src = url;
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"), { width: LARGE, height: LARGE });
  const paper = canvas.getContext("2d");
  paper.imageSmoothingQuality = "high";
  paper.drawImage(image, 0, 0, LARGE, LARGE);
  URL.revokeObjectURL(url);
  save(await new Promise((made) => canvas.toBlob(made)), name);
}

export const tuning = (name) => save(fileOf(uriOf(name)), `face${SUFFIX}`);

export async function styles() {
  const name = `${nameOf()}.npy`;
  save(await (await ask("api/styles", JSON.stringify(recipe))).blob(), name);
}
