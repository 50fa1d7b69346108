// Where faces come from: photos, seeds, examples, the strip of those before.
import { ask, fileOf, read } from "./requests.js";
import * as tunings from "./tunings.js";
import { askForCrop } from "./crop.js";
import { guarded, painted, recipe, repaint, repaintPlain, shown, tell } from "./picture.js";
import { fill, setSlider } from "./sliders.js";
import { measured } from "./limits.js";
import { model } from "./model.js";
import { mark, remember } from "./history.js";
import * as refinement from "./refine.js";

const $ = (id) => document.getElementById(id);
const EXAMPLES = [1, 2, 3, 4, 5, 6];
const asked = { face: 0, other: 0 };  // how often one was: the last counts, whatever comes later
let drawn = 0;

// Of the face and the second face: the photo's file, its picture as the model sees it, the name of
// the tuning to it; any may be missing.
export const photos = { face: null, other: null };

export const truncation = () => $("truncation").valueAsNumber;
const ofSeed = (seed) => ({ seed, truncation: truncation() });
const seed = () => Math.floor(Math.random() * 1e6);
const chosen = () => $("draw-as").querySelector(":checked").value;

// ---- one face ---------------------------------------------------------------------------------

export async function take(slot, face, photo = null, how = "") {
  asked[slot]++;
  recipe[slot] = { ...face };
  photos[slot] = photo;
  if (slot === "face") {
    showFace();
    repaint();
    const plain = await repaintPlain();
    const name = "seed" in face ? `Face ${face.seed}` : `Photo ${photo?.file?.name || ""}`.trim() + how;
    remember(face, photo?.picture || plain, name, guarded(() => { tell([]); return take("face", face, photo, how); }));
    mark(recipe.face);  // another by now, it may be
  } else {
    if (!(await showOtherThumb())) return;  // another face, or none, by now
    showOther();
    if (!Object.values(recipe.mix).some(Boolean)) {  // so that something is to be seen
      setSlider(`mix-${model.bands[0].name}`, 1);
    }
    repaint();
  }
}

// What stands beside the picture of a face: its photo, what can be done to that.
export function showFace() {
  refinement.stop();
  shown.photo = photos.face?.picture || null;
  shown.compareWith = "original";
  const { picture, file, tuned } = photos.face || {};
  $("tile-original").hidden = $("refine-row").hidden = !picture;
  $("recrop").hidden = !file;
  $("tuned-row").hidden = !tuned;
  $("tuned").checked = Boolean(recipe.face.tuned);
  $("plain-name").textContent = photos.face ? "Reconstruction" : "Face";
  if (picture) $("original").src = picture;
  if ("seed" in recipe.face) $("truncation").value = recipe.face.truncation;
  fill($("truncation"));
}

// The second face's small picture; false if the face is another by the time that it is there.
export async function showOtherThumb() {
  const { other } = recipe, url = photos.other?.picture || (await painted({ face: other })).url;
  if (recipe.other !== other) return false;
  $("other-thumb").src = url;
  return true;
}

export function showOther() {
  $("tile-other").hidden = $("mix-hint").hidden = !recipe.other;
  $("no-other").disabled = $("animate").disabled = !recipe.other;
  for (const input of $("mix").querySelectorAll("input")) input.disabled = !recipe.other;
}

// Truncation is of seeds: where no face is of one, it does nothing.
export function showTruncation() {
  const off = ![recipe.face, recipe.other].some((face) => face && "seed" in face);
  $("truncation").disabled = off;
  $("truncation-out").textContent = off ? "off" : truncation().toFixed(2);
  $("truncation-hint").textContent = off ? "Of random faces alone: a photo’s style is not truncated."
    : "Of random faces: 0 is the average face, 1 the model’s full variety.";
}

// ---- photos -----------------------------------------------------------------------------------

const WHOLE = { left: 0, top: 0, side: 1 };  // of a picture that has been cropped: no face is looked for in it
const cut = (path, crop) => (crop ? `${path}?${new URLSearchParams(crop)}` : path);

async function load(slot, file, crop) {
  const mine = ++asked[slot];
  document.body.classList.add("working");
  const answer = await (await ask(cut("api/face", crop), file)).json();
  if (mine !== asked[slot]) return;
  tell(answer.notes);
  await take(slot, { w: answer.w }, { file, picture: answer.picture });
}

export async function choose(slot, file) {
  if (!file) return;
  if (file.name?.endsWith(tunings.SUFFIX)) {
    await takeTuning(slot, file);
    return;
  }
  const size = await measured(file, model);
  if (size && size.width !== size.height && !model.aligns) await cropped(slot, file);
  else await load(slot, file);
}

export async function cropped(slot, file) {
  const crop = await askForCrop(file);
  if (crop) await load(slot, file, crop);
}

const gain = (found) => `${found.before_db.toFixed(1)} dB became ${found.after_db.toFixed(1)} dB of PSNR`;

export async function refine() {
  const photo = photos.face, found = await refinement.followed(cut("api/refine", WHOLE), photo.picture);
  if (!found || photos.face !== photo) return;  // stopped, or another face by now
  tell([`Refined: ${gain(found)}.`]);
  await take("face", { w: found.w }, photo, ", refined");
}

export async function tune() {
  const photo = photos.face, found = await refinement.followed(cut("api/tune", WHOLE), photo.picture);
  if (!found || photos.face !== photo) return;
  const { tuned } = found;
  tunings.keep(tuned, `data:application/octet-stream;base64,${found.file}`);
  tell([`Tuned: ${gain(found)}.`, `The model’s other faces are ${found.far_db.toFixed(1)} dB from what they were.`]);
  await take("face", { w: found.w, tuned }, { ...photo, tuned }, ", tuned");
}

// The face with the generator that is tuned to it, or with the model's own.
export async function switchTuning(on) {
  const { tuned } = photos.face;
  recipe.face = { w: recipe.face.w, ...(on && { tuned }) };
  repaint();
  await repaintPlain();
}

async function takeTuning(slot, file) {
  if (slot !== "face") throw new Error("A tuning is of the first face: choose a photo for the second.");
  const { w, tuned } = await tunings.taken(file);
  tell([]);
  await take("face", { w, tuned }, { tuned }, `, ${file.name}`);
}

// ---- seeds ------------------------------------------------------------------------------------

export const takeSeed = (slot, number) => { tell([]); return take(slot, ofSeed(number)); };
export const random = (slot) => takeSeed(slot, seed());

function thumbnail(name, picture, taken) {
  const item = document.createElement("li"), button = document.createElement("button");
  const image = Object.assign(new Image(), { src: picture, alt: "" });
  button.type = "button";
  button.setAttribute("aria-label", name);
  button.append(image);
  button.onclick = guarded(taken);
  item.append(button);
  return item;
}

const thumbnailOf = async (face) =>
  thumbnail(`Random face ${face.seed}`, (await painted({ face })).url, () => { tell([]); return take(chosen(), face); });

export async function drawSix() {
  const mine = ++drawn;
  $("gallery").hidden = false;
  $("gallery").replaceChildren();
  const six = await Promise.all(Array.from({ length: 6 }, () => thumbnailOf(ofSeed(seed()))));
  if (mine === drawn) $("gallery").append(...six);
}

// Held-out images of the model's data set, where the studio has them; else faces of seeds.
export async function showExamples() {
  const { pictures } = await read("api/examples");
  $("examples-hint").textContent = pictures.length ? "Or begin with an image that the model has not been trained on:"
    : "Or begin with one of these faces of the model’s own:";
  if (pictures.length) {
    $("examples").append(...pictures.map((picture, k) =>
      thumbnail(`Example ${k + 1}`, picture, () => load(chosen(), new File([fileOf(picture)], `example-${k + 1}.png`), WHOLE))));
  } else {
    $("examples").append(...await Promise.all(EXAMPLES.map((number) => thumbnailOf({ seed: number, truncation: 0.7 }))));
  }
  $("examples-row").hidden = false;
}
