import guestHyper from '@cloudos/guest-hyper';
import { counterImage, obstacleToTestImages } from '@cloudos/test-images';
import type { Bench } from './bench.ts';
import { cloneTool } from './guest-hyper-tools.ts';
import { measureGuests } from './guest-rounds.ts';

const memoryMiB = 128;

/** A container image in a tiny virtual machine, cloned from its template, beside a clone of the same template by hand. */
const bench: Bench = {
  prefix: 'guest.hyper',
  async run(options) {
    if (process.getuid?.() !== 0) return options.progress('passed over: guests get addresses from root (run as root)');
    const obstacle = obstacleToTestImages();
    if (obstacle) return options.progress(`passed over: ${obstacle}`);
    await measureGuests(options, guestHyper, {
      name: 'guest.hyper',
      config: { memoryBytes: memoryMiB * 2 ** 20 },
      prepare: counterImage,
      tools: [cloneTool(memoryMiB)],
      startMaxMs: 400,
      answerMaxMs: 400,
    });
  },
};
export default bench;
