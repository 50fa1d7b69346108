// The studio's page.  It holds the recipe of the picture (faces, shares, amounts) and sends it
// whole; while one picture is being made, only the newest wish waits.
import { ask, painted } from "./asking.js";
import { askForCrop } from "./crop.js";
import { addSlider, fill, setSlider } from "./sliders.js";

const $ = (id) => document.getElementById(id);
const recipe = { face: null, other: null, mix: {}, amounts: {}, grain: false };
const shown = { photo: null, plain: null, compareWith: "original" };
const made = new Set();  // object URLs of pictures
const lastPhoto = { face: null, other: null };
let model = null, drawn = 0, busy = false, wish = null;

// ---- what is said ------------------------------------------------------------------------------

function say(error) {
  $("message").textContent = error.message || String(error);
  $("message").hidden = false;
}

function tell(sentences) {
  $("note").textContent = sentences.join(" ");
  $("note").hidden = !sentences.length;
}

const guarded = (work) => async (...given) => {
  $("message").hidden = true;
  try { await work(...given); } catch (error) { say(error); }
  if (!busy) document.body.classList.remove("working");
};

// ---- the picture ------------------------------------------------------------------------------

function repaint(draft = false) {
  wish = { draft };
  describe();
  if (!busy) pump();
}

async function pump() {
  busy = true;
  document.body.classList.add("working");
  while (wish) {
    const { draft } = wish;
    wish = null;
    try {
      const { url, ms } = await painted(recipe, draft);
      $("after").src = url;
      $("took").textContent = ms ? `${ms} ms` : "";
      if (!draft) $("save-picture").href = url;
      sweep(url);
      document.body.dataset.painted = String(Number(document.body.dataset.painted || 0) + 1);
    } catch (error) { say(error); }
  }
  busy = false;
  document.body.classList.remove("working");
}

// Frees the pictures that are no longer shown, compared with or offered to be saved.
function sweep(url) {
  made.add(url);
  const used = ["after", "before", "plain", "other-thumb"].map((id) => $(id).src);
  used.push($("save-picture").href, shown.plain);
  for (const old of made) {
    if (!used.includes(old)) { URL.revokeObjectURL(old); made.delete(old); }
  }
}

async function repaintPlain() {
  const { url } = await painted({ face: recipe.face });
  shown.plain = $("plain").src = url;
  compare();
  sweep(url);
}

function describe() {
  const edits = Object.values(recipe.amounts).some(Boolean);
  const mixed = recipe.other && Object.values(recipe.mix).some(Boolean);
  const from = "w" in recipe.face ? "Reconstruction of the photo"
    : `Random face ${recipe.face.seed}, ψ ${recipe.face.truncation.toFixed(2)}`;
  $("caption").textContent = from + (mixed ? ", mixed" : "") + (edits ? ", edited" : "");
  $("reset").disabled = !(edits || mixed);
  for (const zero of document.querySelectorAll(".zero")) zero.hidden = !zero.input.valueAsNumber;
}

function compare() {
  const on = $("compare").getAttribute("aria-pressed") === "true";
  const withPhoto = shown.compareWith === "original" && shown.photo;
  for (const id of ["before", "wipe", "divider", "tag-before", "tag-after"]) $(id).hidden = !on;
  document.body.classList.toggle("comparing", on);
  $("as-original").setAttribute("aria-pressed", String(Boolean(withPhoto)));
  $("as-plain").setAttribute("aria-pressed", String(!withPhoto));
  $("tag-before").textContent = withPhoto ? "Photo" : "Before";
  const url = withPhoto ? shown.photo : shown.plain;
  if (url) $("before").src = url;
}

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
  $("no-other").disabled = !there;
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
  tell(answer.told);
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
const idOf = (name) => `amount-${name.replace(/[^\w-]/g, "_")}`;

function buildSliders() {
  const amount = (name) => ({
    low: -model.reach, high: model.reach, step: 0.1, value: 0, format: signed,
    set: (v) => { recipe.amounts[name] = v; }, moved: repaint,
  });
  for (const { name, told } of model.attributes) {
    const read = model.labelled ? capital(name.replaceAll("_", " ")) : name.replace(/^pc/, "Component ");
    addSlider($("attributes"), idOf(name), read, { ...amount(name), told });
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
  $("grain").onchange = () => { recipe.grain = $("grain").checked; repaint(); };
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

guarded(async () => {
  const answer = await fetch("api/model");
  if (!answer.ok) throw new Error("The studio's model could not be read: reload the page.");
  model = await answer.json();
  const grown = model.seen ? `trained on ${model.seen.toLocaleString("en")} images` : "imported";
  $("model").textContent = [model.name, `${model.resolution}×${model.resolution}`, grown].filter(Boolean).join(" · ");
  if (model.aligns) $("photo-hint").textContent = "Or drop or paste one anywhere. The largest face in it is found, turned upright and cropped.";
  buildSliders();
  listen();
  listenForDrops();
  fill($("truncation"));
  await take("face", { seed: 1, truncation: truncation() });
})();
