import { projectConfig } from '../vitest.shared.ts';

/** What needs no guests on the machine, only processes and ports of its own: `npm test` runs it beside what does. */
const apart = [
  'src/!(*.int).spec.ts',
  'src/@(consumer-crash|gateway-fuzz|log-corruption|log-crash|log-journal|subscribers|tokens-crash).int.spec.ts',
];

/** Which part of the tests (default: all of them). */
const part = process.env.CLOUDOS_TEST_PART;

export default part === 'apart'
  ? projectConfig({ include: apart }, 'reports-apart')
  : projectConfig(part === 'guests' ? { exclude: apart } : {});
