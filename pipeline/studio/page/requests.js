// Requests to the server, and its errors as sentences.

const BUSY_TRIES = 5, BUSY_MS = 1000;

async function fetched(path, how) {
  try {
    return await fetch(path, how);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The studio does not answer: is its command still running?");
  }
}

// The JSON of an address; throws a sentence.
export async function read(path) {
  const answer = await fetched(path);
  if (!answer.ok) throw new Error("The studio's model could not be read: reload the page.");
  return answer.json();
}

export async function ask(path, body, signal) {
  let answer;
  for (let tries = 1; ; tries++) {
    answer = await fetched(path, { method: "POST", body, signal });
    if (answer.status !== 503 || tries === BUSY_TRIES) break;
    await new Promise((again) => setTimeout(again, BUSY_MS));
  }
  if (answer.ok) return answer;
  let said = `The studio answered ${answer.status}.`;
  try { said = (await answer.json()).error || said; } catch { /* no JSON: the status must do */ }
  throw Object.assign(new Error(said), { status: answer.status });
}

// The JSON lines of an answer, each as soon as it is there.
export async function* lines(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const whole = (rest + part.value).split("\n");
    rest = whole.pop();
    for (const line of whole) yield JSON.parse(line);
  }
}

// The file in a data URI.
export function fileOf(uri) {
  const [head, text] = uri.split(",");
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: head.slice(5).split(";")[0] });
}
