import { projectConfig } from '../vitest.shared.ts';

/** What needs no guests on the machine, only processes and ports of its own: `npm test` runs it beside what does. */
const withoutGuests = [
  ...['any-stack', 'appender', 'bad-input', 'clients', 'consumer-crash', 'gateway-fuzz', 'image-registry'],
  ...['log-corruption', 'log-crash', 'log-journal', 'openapi', 'secrets', 'slow-subscriber', 'subscribers'],
  'tokens-crash',
];
const apart = ['src/!(*.int).spec.ts', `src/@(${withoutGuests.join('|')}).int.spec.ts`];

/** Which part of the tests (default: all of them). */
const part = process.env.CLOUDOS_TEST_PART;

export default part === 'apart'
  ? projectConfig({ include: apart }, 'reports-apart')
  : projectConfig(part === 'guests' ? { exclude: apart } : {});
