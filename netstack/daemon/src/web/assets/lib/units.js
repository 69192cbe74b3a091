// Numbers for people: SI for rates and counts, binary units for memory.

const scale = (value, step, prefixes) => {
  let index = 0;
  let rest = Math.abs(value);
  while (rest >= step * 0.9995 && index < prefixes.length - 1) {
    rest /= step;
    index += 1;
  }
  const digits = index === 0 ? (rest < 10 && rest % 1 ? 1 : 0) : rest < 9.995 ? 2 : rest < 99.95 ? 1 : 0;
  return [`${value < 0 ? "−" : ""}${rest.toFixed(digits)}`, prefixes[index]];
};

/** Returns number and unit of a rate of bytes, in bits a second. */
export const bitParts = (bytes) => {
  const [number, prefix] = scale(bytes * 8, 1000, ["", "k", "M", "G", "T"]);
  return [number, `${prefix}b/s`];
};
export const bits = (bytes) => bitParts(bytes).join(" ");

/** Returns a number of packets, segments and the like; a thin space groups thousands. */
export const count = (value) => Math.round(value).toString().replace(/\B(?=(\d{3})+(?!\d))/g, "\u2009");

/** Returns a rate a second. */
export const rate = (value) => {
  const [number, prefix] = scale(value, 1000, ["", "k", "M", "G"]);
  return `${number}${prefix ? ` ${prefix}` : ""}/s`;
};

/** Returns number and unit of an amount of memory. */
export const byteParts = (value) => {
  const [number, prefix] = scale(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB"]);
  return [number, prefix];
};
export const bytes = (value) => byteParts(value).join(" ");

/** Returns a short time that is given in microseconds. */
export const micros = (value) => {
  if (!value) return "–";
  if (value < 1000) return `${Math.round(value)} µs`;
  if (value < 1e6) return `${(value / 1e3).toFixed(value < 1e4 ? 2 : value < 1e5 ? 1 : 0)} ms`;
  return `${(value / 1e6).toFixed(2)} s`;
};

/** Returns a time that is given in nanoseconds. */
export const nanos = (value) => (value && value < 1000 ? `${Math.round(value)} ns` : micros(value / 1e3));

/** Returns a long time. */
export const span = (millis) => {
  const seconds = Math.floor(millis / 1000);
  const [days, hours, minutes] = [Math.floor(seconds / 86400), Math.floor(seconds / 3600) % 24, Math.floor(seconds / 60) % 60];
  if (days) return `${days} d ${hours} h`;
  if (hours) return `${hours} h ${minutes} min`;
  if (minutes) return `${minutes} min ${seconds % 60} s`;
  return `${seconds} s`;
};

export const percent = (share) => `${(share * 100).toFixed(share > 0 && share < 0.0995 ? 1 : 0)} %`;

const pad = (value, width = 2) => String(value).padStart(width, "0");

/** Returns the time of day. */
export const clock = (millis, withMillis = false) => {
  const at = new Date(millis);
  const text = `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
  return withMillis ? `${text}.${pad(at.getMilliseconds(), 3)}` : text;
};
