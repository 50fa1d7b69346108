// The studio's page: faces come in, sliders and buttons change the recipe, `picture` follows it.
import { compare, guarded, onDescribe, recipe, repaint, repaintPlain, shown } from "./picture.js";
import { buildSliders, placeSliders } from "./controls.js";
import { fill, leaveToScrolling, setSlider } from "./sliders.js";
import { choose, cropped, drawSix, photos, random, refine, showExamples, showFace, showOther,
  showOtherThumb, showTruncation, switchTuning, take, takeSeed, truncation, tune } from "./faces.js";
import { model, read } from "./model.js";
import * as address from "./address.js";
import * as downloads from "./downloads.js";
import * as history from "./history.js";
import * as refinement from "./refine.js";
import * as tab from "./tab.js";
import { toggle } from "./animation.js";

const $ = (id) => document.getElementById(id);
const MAX_SEED = 2 ** 31;

// ---- states: of the address, and those before ------------------------------------------------

// Everything that decides what is shown, to come back to.
const state = () => ({ recipe: structuredClone(recipe), photos: { ...photos }, psi: truncation() });

async function show(then) {
  $("truncation").value = then.psi;
  placeSliders(then.recipe);
  Object.assign(recipe, structuredClone(then.recipe));
  Object.assign(photos, then.photos);
  showFace();
  showOther();
  repaint();
  await repaintPlain();
  if (recipe.other) await showOtherThumb();
}

async function walk(by) {
  const then = history.step(by);
  if (then) await show(then);
}

// What the address says, and of photos this tab; or a first face.
async function restore() {
  const { seed, psi = 0.7, other, psi2 = psi, mix, by, grain } = address.read();
  const face = seed === undefined && tab.restored("face"), second = other === undefined && tab.restored("other");
  $("truncation").value = psi;
  placeSliders({ mix, amounts: by, noise: Boolean(grain) });
  recipe.other = second ? second.face : other === undefined ? null : { seed: other, truncation: psi2 };
  photos.other = second ? second.photo : null;
  showOther();
  if (face) await take("face", face.face, face.photo);
  else await takeSeed("face", seed ?? 1);
  if (recipe.other) await showOtherThumb();
}

// ---- the controls -----------------------------------------------------------------------------

function listenForFaces() {
  for (const [id, slot] of [["file", "face"], ["file-other", "other"]]) {
    $(id).onchange = guarded(async () => {
      const file = $(id).files[0];
      $(id).value = "";  // so that the same file may be chosen again
      await choose(slot, file);
    });
  }
  $("random").onclick = guarded(() => random("face"));
  $("random-other").onclick = guarded(() => random("other"));
  $("seed").onchange = guarded(async () => {
    const typed = $("seed").valueAsNumber;
    if (!Number.isInteger(typed) || typed < 0 || typed > MAX_SEED) {
      throw new Error(`A seed is a whole number from 0 to ${MAX_SEED}.`);
    }
    await takeSeed("face", typed);
  });
  $("draw").onclick = guarded(drawSix);
  $("recrop").onclick = guarded(() => cropped("face", photos.face.file));
  $("refine").onclick = guarded(refine);
  $("tune").onclick = guarded(tune);
  $("tuned").onchange = guarded(() => switchTuning($("tuned").checked));
  $("refine-stop").onclick = refinement.stop;
  $("no-other").onclick = guarded(() => {
    recipe.other = photos.other = null;
    showOther();
    repaint();
  });
}

function listenForEdits() {
  $("animate").onclick = guarded(async () => {
    const bands = model.bands.map(({ name }) => `mix-${name}`);
    $("animate").setAttribute("aria-pressed", "true");
    await toggle(
      (share) => { for (const id of bands) setSlider(id, share); },
      () => { $("animate").setAttribute("aria-pressed", "false"); repaint(); },
    );
  });
  const truncate = (draft) => {
    fill($("truncation"));
    for (const face of [recipe.face, recipe.other]) if (face && "seed" in face) face.truncation = truncation();
    repaint(draft);
    if (!draft) guarded(repaintPlain)();
  };
  $("truncation").oninput = () => truncate(true);
  $("truncation").onchange = () => truncate(false);
  $("noise").onchange = () => { recipe.noise = $("noise").checked; repaint(); };
  $("reset").onclick = guarded(() => {
    for (const input of document.querySelectorAll(".sliders input")) input.silently(0);
    repaint();
  });
  $("undo").onclick = guarded(() => walk(-1));
  $("redo").onclick = guarded(() => walk(1));
  document.addEventListener("keydown", (e) => {
    const typing = e.target.matches("input:not([type=range], [type=checkbox], [type=radio])");
    if (!(e.ctrlKey || e.metaKey) || e.altKey || typing || $("crop").open) return;
    const key = e.key.toLowerCase(), back = key === "z" && !e.shiftKey;
    if (!back && key !== "y" && key !== "z") return;
    e.preventDefault();
    guarded(() => walk(back ? -1 : 1))();
  });
}

function listenForViews() {
  $("compare").onclick = () => {
    const on = $("compare").getAttribute("aria-pressed") !== "true";
    $("compare").setAttribute("aria-pressed", String(on));
    compare();
  };
  for (const [id, choice] of [["as-original", "original"], ["as-plain", "plain"]]) {
    $(id).onclick = () => { shown.compareWith = choice; $("compare").setAttribute("aria-pressed", "true"); compare(); };
  }
  $("wipe").oninput = () => $("frame").style.setProperty("--wipe", `${$("wipe").value}%`);
  $("save-large").hidden = model.resolution >= downloads.LARGE;
  $("save-large").onclick = guarded(downloads.enlarged);
  $("save-w").onclick = guarded(downloads.styles);
  $("save-tuning").onclick = () => downloads.tuning(photos.face.tuned);
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
  await read();
  const grown = model.seen ? `${model.seen.toLocaleString("en")} images shown` : "imported";
  $("model").textContent = [model.name, `${model.resolution}×${model.resolution}`, grown].filter(Boolean).join(" · ");
  if (model.aligns) $("photo-hint").textContent = "Or drop or paste one anywhere. The largest face in it is found, turned upright and cropped.";
  document.title = [model.name, document.title].filter(Boolean).join(" · ");
  if (model.data) $("trained").textContent = model.data;
  $("trained").hidden = !model.data;
  buildSliders(model);
  for (const id of ["truncation", "wipe", "zoom"]) leaveToScrolling($(id));
  showOther();
  for (const listen of [listenForFaces, listenForEdits, listenForViews, listenForDrops]) listen();
  onDescribe((draft) => {
    showTruncation();
    if (draft) return;
    address.write();
    tab.save(recipe, photos);
    history.mark(recipe.face);
    history.note(state());
  });
  await restore();
  address.onChange(guarded(restore));
  await showExamples();
})();
