/**
 * Resource quantities of Kubernetes, computed exactly
 * (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/).
 */

const pattern = /^([+-]?)(\d+\.?\d*|\.\d+)(?:([eE][+-]?\d+)|([numkMGTPE]|[KMGTPE]i))?$/;

const decimal: Readonly<Record<string, number>> = { n: -9, u: -6, m: -3, k: 3, M: 6, G: 9, T: 12, P: 15, E: 18 };
const binary: Readonly<Record<string, bigint>> = {
  Ki: 1n << 10n,
  Mi: 1n << 20n,
  Gi: 1n << 30n,
  Ti: 1n << 40n,
  Pi: 1n << 50n,
  Ei: 1n << 60n,
};

/** What a quantity may look like, for messages. */
export const quantityForms = 'a quantity such as 500m, 0.5, 128Mi, 1Gi or 1e3';

/**
 * The quantity in units of 10^-scale, rounded up as Kubernetes does: scale 3 for cpu (100m is 100), 0 for bytes.
 * Undefined when the text is no quantity, is negative or is past what a number holds exactly.
 */
export function parseQuantity(given: unknown, scale: 0 | 3): number | undefined {
  const text = typeof given === 'number' ? String(given) : given;
  if (typeof text !== 'string' || text.length > 64) return undefined;
  const parts = pattern.exec(text.trim());
  if (!parts || parts[1] === '-') return undefined;
  const [whole = '', fraction = ''] = (parts[2] ?? '').split('.');
  const suffix = parts[4] ?? '';
  const exponent = parts[3] ? Number(parts[3].slice(1)) : (decimal[suffix] ?? 0);
  if (Math.abs(exponent) > 64) return undefined;
  const power = exponent - fraction.length + scale;
  const digits = BigInt(whole + fraction) * (binary[suffix] ?? 1n);
  const value = power >= 0 ? digits * 10n ** BigInt(power) : ceilDivide(digits, 10n ** BigInt(-power));
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? undefined : Number(value);
}

function ceilDivide(value: bigint, by: bigint): bigint {
  return (value + by - 1n) / by;
}
