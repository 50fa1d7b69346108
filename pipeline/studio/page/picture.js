// The picture: its recipe (faces, shares, amounts) is sent whole; while one picture is being made,
// only the newest wish waits.  Beside it, what is said of it.
import { ask } from "./requests.js";
import { give, uriOf } from "./tunings.js";

const $ = (id) => document.getElementById(id);
const made = new Set();  // object URLs of pictures
let busy = false, wish = null, working = null, described = () => {};

// Who is to know of every change of the recipe, and whether it is one on the way (a draft).
export const onDescribe = (told) => { described = told; };

export const recipe = { face: null, other: null, mix: {}, amounts: {}, noise: false };
export const shown = { photo: null, plain: null, compareWith: "original" };

// ---- what is said ------------------------------------------------------------------------------

let unpainted = false;  // what is said is of a picture that could not be made

function say(error) {
  $("message").textContent = error.message || String(error);
  $("message").hidden = false;
}

export function tell(sentences) {
  $("note").textContent = sentences.join(" ");
  $("note").hidden = !sentences.length;
}

export const guarded = (work) => async (...given) => {
  $("message").hidden = true;
  try { await work(...given); } catch (error) { say(error); }
  if (!busy) document.body.classList.remove("working");
};

// ---- the picture ------------------------------------------------------------------------------

const took = (answer) => /dur=(\d+)/.exec(answer.headers.get("server-timing") || "")?.[1];

// A picture of a recipe, or of a face alone: its object URL, and the milliseconds that it took.
export async function painted(what, draft = false) {
  const asked = () => ask("api/picture", JSON.stringify({ ...what, draft })), { tuned } = what.face;
  const answer = await asked().catch(async (error) => {
    if (error.status !== 410 || !uriOf(tuned)) throw error;
    await give(tuned);  // the studio has let go of the tuning
    return asked();
  });
  return { url: URL.createObjectURL(await answer.blob()), ms: took(answer) };
}

export function repaint(draft = false) {
  wish = { draft };
  describe(draft);
  if (!busy) working = pump();
}

// A draft of the recipe as it is, once it is shown; false if it could not be painted.
export async function repainted() {
  repaint(true);
  await working;
  return !unpainted;
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
      $("took").textContent = ms > 0 ? `${ms} ms` : "";
      if (unpainted) $("message").hidden = true;
      unpainted = false;
      if (!draft) $("save-picture").href = url;
      made.add(url);
      sweep();
      document.body.dataset.painted = String(Number(document.body.dataset.painted || 0) + 1);
    } catch (error) {
      say(error);
      unpainted = true;
    }
  }
  busy = false;
  document.body.classList.remove("working");
}

// Frees the pictures that are no longer shown, compared with or offered to be saved.
function sweep() {
  const used = ["after", "before", "plain", "other-thumb"].map((id) => $(id).src);
  used.push($("save-picture").href, shown.plain, ...[...$("history").querySelectorAll("img")].map(({ src }) => src));
  for (const old of made) {
    if (!used.includes(old)) { URL.revokeObjectURL(old); made.delete(old); }
  }
}

// The picture of the face without edits; not shown if the face is another by then.
export async function repaintPlain() {
  const { face } = recipe, { url } = await painted({ face });
  made.add(url);
  if (recipe.face !== face) return url;
  shown.plain = $("plain").src = url;
  compare();
  sweep();
  return url;
}

function describe(draft) {
  const edits = Object.values(recipe.amounts).some(Boolean);
  const mixed = recipe.other && Object.values(recipe.mix).some(Boolean);
  const from = "w" in recipe.face ? `Reconstruction of the photo${recipe.face.tuned ? ", tuned" : ""}`
    : `Random face ${recipe.face.seed}, ψ ${recipe.face.truncation.toFixed(2)}`;
  $("caption").textContent = from + (mixed ? ", mixed" : "") + (edits ? ", edited" : "");
  $("reset").disabled = !(edits || mixed);
  $("seed").value = recipe.face.seed ?? "";
  $("save-picture").download = "seed" in recipe.face ? `face-${recipe.face.seed}.png` : "face.png";
  described(draft);
  for (const zero of document.querySelectorAll(".zero")) zero.hidden = !zero.input.valueAsNumber;
}

export function compare() {
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
