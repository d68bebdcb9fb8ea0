// Decimals as text. A price is shown as it came; what is computed from two prices is computed exactly.

// difference is a - b, as text with as many decimals as the longer of the two.
export function difference(a, b) {
  const places = Math.max(decimals(a), decimals(b));
  return format(scaled(a, places) - scaled(b, places), places);
}

// compare is below, equal or above 0 as a is below, equal to or above b.
export function compare(a, b) {
  if (a === b) return 0;
  const near = Number(a) - Number(b);
  // Decimals of up to 18 digits can differ where their doubles do not.
  if (Math.abs(near) > 1e-9 * Math.abs(Number(b))) return near;
  const places = Math.max(decimals(a), decimals(b));
  return Number(scaled(a, places) - scaled(b, places));
}

function decimals(s) {
  const point = s.indexOf('.');
  return point < 0 ? 0 : s.length - point - 1;
}

function scaled(s, places) {
  const have = decimals(s);
  return BigInt(s.replace('.', '') + '0'.repeat(places - have));
}

function format(n, places) {
  const sign = n < 0n ? '\u2212' : '';
  const digits = String(n < 0n ? -n : n).padStart(places + 1, '0');
  return places === 0 ? sign + digits : `${sign}${digits.slice(0, -places)}.${digits.slice(-places)}`;
}
