// Faces of photos outlive a reload: they are in this tab's storage, which the browser empties with the tab.
import { model } from "./model.js";
import * as tunings from "./tunings.js";

const keyOf = ({ name, resolution, seen }) => `faces of ${name} ${resolution} ${seen}`;  // styles are of one model

// Of the face and the second face those that are of a photo; the photo's file is not kept.
export function save(recipe, photos) {
  const kept = {};
  for (const slot of ["face", "other"]) {
    if (!recipe[slot]?.w) continue;
    const { picture, tuned } = photos[slot] || {};
    kept[slot] = { face: recipe[slot], picture, tuned, tuning: tunings.uriOf(tuned) };
  }
  try {
    sessionStorage.setItem(keyOf(model), JSON.stringify(kept));
  } catch {  // no room for it, or no storage: the photo must be loaded again
    forget();
  }
}

// {face, photo} of a slot as it was before the reload; null if it was of none.
export function restored(slot) {
  try {
    const { face, picture, tuned, tuning } = JSON.parse(sessionStorage.getItem(keyOf(model)))[slot];
    if (tuned) tunings.keep(tuned, tuning);
    return { face, photo: { picture, tuned } };
  } catch { return null; }
}

function forget() {
  try { sessionStorage.removeItem(keyOf(model)); } catch { /* no storage */ }
}
