/** YARN counts memory in whole MB (of 1024 × 1024 bytes). */
export function mebibytes(bytes: number): number {
  return Math.round(bytes / 1024 ** 2);
}

/** YARN counts whole cores: what is placed takes its share of them, rounded up as a container's would be. */
export function vCores(cpuMillis: number): number {
  return Math.ceil(cpuMillis / 1_000);
}

/** A share as a percentage with two decimals. */
export function percent(share: number): number {
  return Math.round(share * 10_000) / 100;
}
