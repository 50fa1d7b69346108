// The studio's page: faces come in, sliders and buttons change the recipe, `picture` follows it.
import { ask, painted } from "./requests.js";
import { askForCrop } from "./crop.js";
import { compare, guarded, onDescribe, recipe, repaint, repaintPlain, shown, tell } from "./picture.js";
import { addSlider, fill, setSlider } from "./sliders.js";
import * as address from "./address.js";
import { toggle } from "./animation.js";

const $ = (id) => document.getElementById(id);
const lastPhoto = { face: null, other: null };
let model = null, drawn = 0;

// ---- faces ------------------------------------------------------------------------------------

async function take(slot, face, photo = null) {
  recipe[slot] = face;
  if (slot === "face") {
    shown.photo = photo;
    shown.compareWith = "original";
    $("tile-original").hidden = !photo;
    $("recrop").hidden = !photo;
    $("plain-name").textContent = photo ? "Reconstruction" : "Face";
    if (photo) $("original").src = photo;
    repaint();
    await repaintPlain();
  } else {
    $("other-thumb").src = photo || (await painted({ face })).url;
    setOther(true);
    if (!Object.values(recipe.mix).some(Boolean)) {  // so that something is to be seen
      setSlider(`mix-${model.bands[0].name}`, 1);
    }
    repaint();
  }
}

function setOther(there) {
  $("tile-other").hidden = $("mix-hint").hidden = !there;
  $("no-other").disabled = $("animate").disabled = !there;
  for (const input of $("mix").querySelectorAll("input")) input.disabled = !there;
}

async function load(slot, file, crop) {
  if (!file) return;
  if (file.size > model.max_bytes) {
    throw new Error(`This photo cannot be used: it has more than ${model.max_bytes >> 20} MB: save a smaller one.`);
  }
  const query = crop ? `?${new URLSearchParams(crop)}` : "";
  document.body.classList.add("working");
  const answer = await (await ask(`api/face${query}`, file)).json();
  lastPhoto[slot] = file;
  tell(answer.notes);
  await take(slot, { w: answer.w }, answer.picture);
}

async function choose(slot, file) {
  const size = await sizeOf(file);
  if (size && size.width !== size.height && !model.aligns) {
    const crop = await askForCrop(file);
    if (crop) await load(slot, file, crop);
  } else {
    await load(slot, file);  // what the browser cannot read, the server has a sentence for
  }
}

async function sizeOf(file) {
  if (!file || file.size > model.max_bytes) return null;
  try {
    const bitmap = await createImageBitmap(file);
    const size = { width: bitmap.width, height: bitmap.height };
    bitmap.close();
    return size;
  } catch { return null; }
}

const MAX_SEED = 2 ** 31;
const seed = () => Math.floor(Math.random() * 1e6);
const truncation = () => $("truncation").valueAsNumber;
const random = (slot) => { tell([]); return take(slot, { seed: seed(), truncation: truncation() }); };

async function drawSix() {
  const gallery = $("gallery"), mine = ++drawn;
  gallery.hidden = false;
  gallery.replaceChildren();
  for (let k = 0; k < 6 && mine === drawn; k++) {
    const face = { seed: seed(), truncation: truncation() };
    const { url } = await painted({ face });
    if (mine !== drawn) return;
    const item = document.createElement("li"), button = document.createElement("button");
    const image = new Image();
    image.src = url;
    image.alt = "";
    button.type = "button";
    button.setAttribute("aria-label", `Random face ${face.seed}`);
    button.append(image);
    button.onclick = guarded(() => {
      tell([]);
      return take($("draw-as").querySelector(":checked").value, face);
    });
    item.append(button);
    gallery.append(item);
  }
}

// ---- sliders ----------------------------------------------------------------------------------

const capital = (text) => text[0].toUpperCase() + text.slice(1);
const signed = (v) => (v > 0 ? "+" : v < 0 ? "−" : "") + Math.abs(v).toFixed(1);
const idOf = (name) => `amount-${name.replace(/[^\p{L}\p{N}_-]/gu, "_")}`;

function buildSliders() {
  const amount = (name) => ({
    low: -model.reach, high: model.reach, step: 0.1, value: 0, format: signed,
    set: (v) => { recipe.amounts[name] = v; }, moved: repaint,
  });
  for (const { name, hint } of model.attributes) {
    const read = model.labelled ? capital(name.replaceAll("_", " ").replace(":", ": ")) : name.replace(/^pc/, "Component ");
    addSlider($("attributes"), idOf(name), read, { ...amount(name), hint });
  }
  $("attributes-hint").textContent = model.labelled
    ? "Fitted from labels, in standard deviations."
    : "No attribute directions were given: these are the ways in which faces of this model vary most (PCA), in standard deviations.";
  for (const band of model.bands) {
    const head = document.createElement("h3"), small = document.createElement("span");
    head.textContent = capital(band.name);
    small.textContent = band.caption;
    head.append(small);
    $("styles").append(head);
    for (const name of band.styles) addSlider($("styles"), idOf(name), capital(name), amount(name));
    addSlider($("mix"), `mix-${band.name}`, `${head.firstChild.textContent}, ${band.caption}`, {
      low: 0, high: 1, step: 0.05, value: 0, format: (v) => `${Math.round(100 * v)} %`,
      set: (v) => { recipe.mix[band.name] = v; }, moved: repaint,
    });
  }
  setOther(false);
}

// ---- the rest of the controls -----------------------------------------------------------------

async function saveStyles() {
  const answer = await ask("api/styles", JSON.stringify(recipe));
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await answer.blob());
  link.download = "face.npy";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

function listen() {
  for (const [id, slot] of [["file", "face"], ["file-other", "other"]]) {
    $(id).onchange = guarded(async () => {
      const file = $(id).files[0];
      $(id).value = "";  // so that the same file may be chosen again
      await choose(slot, file);
    });
  }
  $("random").onclick = guarded(() => random("face"));
  $("seed").onchange = guarded(async () => {
    const typed = $("seed").valueAsNumber;
    if (!Number.isInteger(typed) || typed < 0 || typed > MAX_SEED) {
      throw new Error(`A seed is a whole number from 0 to ${MAX_SEED}.`);
    }
    tell([]);
    await take("face", { seed: typed, truncation: truncation() });
  });
  $("animate").onclick = guarded(async () => {
    const bands = model.bands.map(({ name }) => `mix-${name}`);
    $("animate").setAttribute("aria-pressed", "true");
    await toggle(
      (share) => { for (const id of bands) setSlider(id, share); },
      () => { $("animate").setAttribute("aria-pressed", "false"); repaint(); },
    );
  });
  $("random-other").onclick = guarded(() => random("other"));
  $("no-other").onclick = guarded(() => { recipe.other = null; setOther(false); repaint(); });
  $("draw").onclick = guarded(drawSix);
  $("recrop").onclick = guarded(async () => {
    const crop = await askForCrop(lastPhoto.face);
    if (crop) await load("face", lastPhoto.face, crop);
  });
  const truncate = (draft) => {
    $("truncation-out").textContent = truncation().toFixed(2);
    fill($("truncation"));
    if ("seed" in recipe.face) { recipe.face.truncation = truncation(); repaint(draft); }
    if (!draft && "seed" in recipe.face) guarded(repaintPlain)();
  };
  $("truncation").oninput = () => truncate(true);
  $("truncation").onchange = () => truncate(false);
  $("noise").onchange = () => { recipe.noise = $("noise").checked; repaint(); };
  $("reset").onclick = guarded(() => {
    for (const input of document.querySelectorAll(".sliders input")) input.silently(0);
    repaint();
  });
  $("compare").onclick = () => {
    const on = $("compare").getAttribute("aria-pressed") !== "true";
    $("compare").setAttribute("aria-pressed", String(on));
    compare();
  };
  for (const [id, choice] of [["as-original", "original"], ["as-plain", "plain"]]) {
    $(id).onclick = () => { shown.compareWith = choice; $("compare").setAttribute("aria-pressed", "true"); compare(); };
  }
  $("wipe").oninput = () => $("frame").style.setProperty("--wipe", `${$("wipe").value}%`);
  $("save-w").onclick = guarded(saveStyles);
}

function listenForDrops() {
  const given = (data) => [...(data?.files || [])][0];
  const over = (on) => document.body.classList.toggle("dropping", on);
  document.addEventListener("dragover", (e) => { e.preventDefault(); over(true); });
  document.addEventListener("dragleave", (e) => { if (!e.relatedTarget) over(false); });
  document.addEventListener("drop", guarded(async (e) => {
    e.preventDefault();
    over(false);
    if (!given(e.dataTransfer)) throw new Error("That was no file: save the picture first, then drop it here.");
    await choose("face", given(e.dataTransfer));
  }));
  document.addEventListener("paste", guarded(async (e) => {
    if (given(e.clipboardData)) await choose("face", given(e.clipboardData));
  }));
}

// What the address says, or a first face.
async function restore() {
  const { seed: first = 1, psi = 0.7, other, mix, by, grain } = address.read();
  $("truncation").value = psi;
  $("truncation-out").textContent = truncation().toFixed(2);
  fill($("truncation"));
  for (const input of document.querySelectorAll(".sliders input")) input.silently(0);
  for (const [name, amount] of Object.entries(by)) if ($(idOf(name))) setSlider(idOf(name), amount);
  recipe.noise = $("noise").checked = Boolean(grain);
  recipe.other = other === undefined ? null : { seed: other, truncation: truncation() };
  setOther(Boolean(recipe.other));
  for (const [band, share] of Object.entries(mix)) if ($(`mix-${band}`)) setSlider(`mix-${band}`, share);
  await take("face", { seed: first, truncation: truncation() });
  if (recipe.other) $("other-thumb").src = (await painted({ face: recipe.other })).url;
}

guarded(async () => {
  const answer = await fetch("api/model");
  if (!answer.ok) throw new Error("The studio's model could not be read: reload the page.");
  model = await answer.json();
  const grown = model.seen ? `${model.seen.toLocaleString("en")} images shown` : "imported";
  $("model").textContent = [model.name, `${model.resolution}×${model.resolution}`, grown].filter(Boolean).join(" · ");
  if (model.aligns) $("photo-hint").textContent = "Or drop or paste one anywhere. The largest face in it is found, turned upright and cropped.";
  buildSliders();
  listen();
  listenForDrops();
  if (model.data) $("trained").textContent = model.data;
  $("trained").hidden = !model.data;
  await restore();
  onDescribe(address.write);
  address.onChange(guarded(restore));
  address.write();
})();
