/**
 * Priority bands after Borg (EuroSys 2015, section 2.5), over priorities 0 to 1000. An instance preempts only
 * instances of a lower band: production never preempts production, so preemption does not cascade within a band.
 */
export const bands = [
  { name: 'best-effort', from: 0 },
  { name: 'batch', from: 100 },
  { name: 'production', from: 200 },
  { name: 'monitoring', from: 900 },
] as const;

/** Index of the first band that counts as production. */
export const productionBand = 2;

/** Index of the band that a priority falls into. */
export function bandOf(priority: number): number {
  let band = 0;
  while (band + 1 < bands.length && priority >= bands[band + 1]!.from) band++;
  return band;
}
