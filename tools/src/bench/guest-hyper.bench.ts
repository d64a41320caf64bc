import guestHyper from '@cloudos/guest-hyper';
import { counterImage, obstacleToTestImages } from '@cloudos/test-images';
import type { Bench } from './bench.ts';
import { measureGuests } from './guest-rounds.ts';

/** A container image in a tiny virtual machine, cloned from its template. */
const bench: Bench = {
  prefix: 'guest.hyper',
  async run(options) {
    if (process.getuid?.() !== 0) return options.progress('passed over: guests get addresses from root (run as root)');
    const obstacle = obstacleToTestImages();
    if (obstacle) return options.progress(`passed over: ${obstacle}`);
    await measureGuests(options, guestHyper, {
      name: 'guest.hyper',
      config: {},
      prepare: counterImage,
      startMaxMs: 400,
    });
  },
};
export default bench;
