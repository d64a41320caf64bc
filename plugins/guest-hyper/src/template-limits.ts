/** Templates of images that are kept: each takes some 60 MB of disk. */
export const imagesMax = 16;
/** Those that began a guest a moment ago stay beyond that: a machine may be about to take over their state. */
export const usedMs = 60_000;
/** How old what a crash has left half made is, when it is removed. */
export const abandonedMs = 600_000;

/** A directory of a template, or of one that is being made. */
export interface KeptTemplate {
  readonly name: string;
  /** When a guest began with it last, or when it was made, in epoch milliseconds. */
  readonly usedAt: number;
}

/** Names of those that make room for one more: not used for the longest. */
export function superfluous(kept: readonly KeptTemplate[], now: number): string[] {
  const isHalf = ({ name }: KeptTemplate) => name.includes('.new-');
  const abandoned = kept.filter((one) => isHalf(one) && now - one.usedAt > abandonedMs);
  const whole = kept.filter((one) => !isHalf(one)).sort((a, b) => b.usedAt - a.usedAt);
  const old = whole.slice(imagesMax - 1).filter(({ usedAt }) => now - usedAt > usedMs);
  return [...abandoned, ...old].map(({ name }) => name);
}
