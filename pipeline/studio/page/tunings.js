// Generators tuned to photos: this page holds their files, the studio those that it draws with.
import { ask, fileOf } from "./requests.js";

const uris = new Map();  // of files, by name

export const SUFFIX = ".safetensors";
export const names = () => [...uris.keys()];
export const uriOf = (name) => uris.get(name);
export const keep = (name, uri) => uris.set(name, uri);

export async function give(name) {
  await ask("api/tunings", fileOf(uris.get(name)));
}

// {tuned, w} of a tuning's file, which studio and page have from now on.
export async function taken(file) {
  const given = await (await ask("api/tunings", file)).json(), reader = new FileReader();
  await new Promise((read) => { reader.onload = read; reader.readAsDataURL(file); });
  keep(given.tuned, reader.result);
  return given;
}

// The studio lets go of a tuning when it is not asked for in a while, and at once when the page is closed.
addEventListener("pagehide", () => {
  for (const name of names()) fetch(`api/tunings/${name}`, { method: "DELETE", keepalive: true });
});
