import guestZones from '@cloudos/guest-zones';
import { type ImageStore, rootDirectory } from '@cloudos/images';
import { counterImage, obstacleToTestImages } from '@cloudos/test-images';
import type { Bench } from './bench.ts';
import { measureGuests } from './guest-rounds.ts';
import { zonesAtOnce } from './guest-zones-many.ts';
import { benchLimits, runcTool, unshareTool } from './guest-zones-tools.ts';

/**
 * The driver of zones by itself, with a static program of 800 kB that answers as soon as it runs: what a zone costs. Beside
 * it the same root with the same limits and cable by `runc run`, and by `unshare` and a script.
 */
const bench: Bench = {
  prefix: 'guest.zones',
  async run(options) {
    const obstacle = process.getuid?.() === 0 ? obstacleToTestImages() : 'needs root (run as root)';
    if (obstacle) return options.progress(`passed over: ${obstacle}`);
    let root = '';
    await measureGuests(options, guestZones, {
      name: 'guest.zones',
      config: {},
      limits: benchLimits,
      prepare: async (store: ImageStore) => {
        root = await rootDirectory(store, await counterImage(store));
      },
      tools: [runcTool(() => root), unshareTool(() => root)],
      startMaxMs: 60,
      answerMaxMs: 60,
      after: (driver) => zonesAtOnce(driver, options),
    });
  },
};
export default bench;
