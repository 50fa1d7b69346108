// Requests to the server, and its errors as sentences.

export async function ask(path, body) {
  let answer;
  try {
    answer = await fetch(path, { method: "POST", body });
  } catch {
    throw new Error("The studio does not answer: is its command still running?");
  }
  if (answer.ok) return answer;
  let said = `The studio answered ${answer.status}.`;
  try { said = (await answer.json()).error || said; } catch { /* no JSON: the status must do */ }
  throw new Error(said);
}

const took = (answer) => /dur=(\d+)/.exec(answer.headers.get("server-timing") || "")?.[1];

export async function painted(what, draft = false) {
  const answer = await ask("api/picture", JSON.stringify({ ...what, draft }));
  return { url: URL.createObjectURL(await answer.blob()), ms: took(answer) };
}
