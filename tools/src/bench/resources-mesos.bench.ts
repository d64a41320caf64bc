import type { Bench } from './bench.ts';
import { offerLoop } from './resources/offer-loop.ts';
import { resourcesBench } from './resources/resources-rows.ts';

const rows = resourcesBench({
  manager: 'mesos',
  plugin: 'resources-mesos',
  timesFullScan: 5,
  // eight roles, in two levels
  adapt: (request) => {
    const job = Number(request.workload.slice('default/job-'.length));
    return { ...request, owner: job % 2 === 0 ? `eng/team-${job % 8}` : `role-${job % 8}` };
  },
});

export default {
  prefix: rows.prefix,
  async run(options) {
    offerLoop(options);
    await rows.run(options);
  },
} satisfies Bench;
