// Generators tuned to photos: this page holds their files, the studio those that it draws with.
import { ask, fileOf } from "./requests.js";

const files = new Map();  // by name

export const SUFFIX = ".safetensors";
export const fileNamed = (name) => files.get(name);
export const names = () => [...files.keys()];

// A tuning that the studio has made: its name, the file in base64.
export function keep(name, file) {
  files.set(name, fileOf(`data:application/octet-stream;base64,${file}`));
  return name;
}

// {tuned, w} of a tuning's file, which the studio has from now on.
export async function give(file) {
  const given = await (await ask("api/tunings", file)).json();
  files.set(given.tuned, file);
  return given;
}

// The studio lets go of a tuning when it is not asked for in a while, and at once when the page is closed.
addEventListener("pagehide", () => {
  for (const name of names()) fetch(`api/tunings/${name}`, { method: "DELETE", keepalive: true });
});
