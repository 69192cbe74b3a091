// What the daemon says: asked for again and again while the page is seen, and never twice at once.

/** Asks for JSON. */
export async function ask(path, signal) {
  const limit = AbortSignal.timeout(15000);
  const response = await fetch(path, { signal: signal ? AbortSignal.any([signal, limit]) : limit });
  if (!response.ok) throw new Error((await response.text()).trim());
  return response.json();
}

/** Asks for `path()` every `millis`, until the function that it returns is called; its `again` asks at once. */
export function poll(path, millis, take, fail = () => {}) {
  const ended = new AbortController();
  let timer;
  let isAsking = false;
  let isWanted = false;
  const turn = async () => {
    if (isAsking) {
      isWanted = true;
      return;
    }
    isAsking = true;
    clearTimeout(timer);
    if (!document.hidden) {
      try {
        const answer = await ask(path(), ended.signal);
        if (!ended.signal.aborted) take(answer);
      } catch (error) {
        if (!ended.signal.aborted) fail(error);
      }
    }
    isAsking = false;
    if (!ended.signal.aborted) timer = setTimeout(turn, isWanted ? 0 : millis);
    isWanted = false;
  };
  const seen = () => {
    if (!document.hidden) turn();
  };
  document.addEventListener("visibilitychange", seen);
  setTimeout(turn, 0);
  const stop = () => {
    ended.abort();
    clearTimeout(timer);
    document.removeEventListener("visibilitychange", seen);
  };
  return Object.assign(stop, { again: turn });
}

/** The samples of the last minutes, the latest last, and what is true now. */
export const store = { samples: [], columns: {}, now: null, kept: 600 };
const listeners = new Set();

/** Calls `listener` after each change, and now if there is something. */
export function watch(listener) {
  listeners.add(listener);
  if (store.now) listener();
  return () => listeners.delete(listener);
}

/** Keeps the store up to date; tells `state(true or false, why)` how that goes. */
export function follow(state) {
  const latest = () => store.samples.at(-1)?.seq ?? 0;
  return poll(
    () => `/api/overview?after=${latest()}`,
    1000,
    (answer) => {
      const isRestart = store.now && answer.daemon.pid !== store.now.daemon.pid;
      if (isRestart) store.samples = [];
      store.samples.push(...answer.samples.filter((one) => one.seq > latest()));
      store.kept = answer.kept;
      store.samples.splice(0, store.samples.length - answer.kept);
      store.columns = Object.fromEntries(answer.columns.map((name, place) => [name, place]));
      store.now = answer;
      state(true);
      for (const listener of listeners) listener();
    },
    (error) => state(false, error.message),
  );
}

/** Returns points { t, values } of the named columns: rates a second, or with `isNow` values as they are. */
export function points(names, isNow = false) {
  const places = names.map((name) => store.columns[name]);
  const samples = store.samples;
  if (isNow) return samples.map((one) => ({ t: one.at_millis, values: places.map((place) => one.values[place]) }));
  return samples.slice(1).map((one, index) => {
    const before = samples[index];
    const seconds = Math.max((one.at_millis - before.at_millis) / 1000, 0.001);
    const of = (place) => Math.max(one.values[place] - before.values[place], 0) / seconds;
    return { t: one.at_millis, values: places.map(of) };
  });
}

/** Returns the latest values of the named columns. */
export function latest(names, isNow = false) {
  return points(names, isNow).at(-1)?.values ?? names.map(() => 0);
}

/** Returns for each worker the share of the last seconds in which it was busy. */
export function busyShares(seconds = 2) {
  const last = store.samples.at(-1);
  const first = store.samples.at(-1 - seconds) ?? store.samples[0];
  if (!last || last === first) return [];
  const micros = (last.at_millis - first.at_millis) * 1000;
  return last.busy_micros.map((busy, worker) => Math.min(Math.max(busy - first.busy_micros[worker], 0) / micros, 1));
}
