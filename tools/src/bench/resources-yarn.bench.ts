import { resourcesBench } from './resources/resources-rows.ts';

/**
 * Eight queues of two departments, jobs to them in turn. The mix has more jobs at a time than the 10,000 applications
 * that YARN lets into a cluster unless it is told otherwise.
 */
const teams = ['search', 'ads', 'maps', 'mail'];
const owners = ['eng', 'research'].flatMap((department) => teams.map((team) => `${department}/${team}`));
const queues = [
  { path: 'root.eng', capacity: '60%' },
  { path: 'root.research', capacity: '40%' },
  ...owners.map((owner) => ({ path: `root.${owner.replace('/', '.')}`, capacity: '25%', userLimitFactor: -1 })),
];

export default resourcesBench({
  manager: 'yarn',
  plugin: 'resources-yarn',
  config: { queues, maximumApplications: 1_000_000 },
  adapt: (request) => ({ ...request, owner: owners[jobOf(request.workload) % owners.length]! }),
  timesFullScan: 5,
});

function jobOf(workload: string): number {
  return Number(/\d+$/.exec(workload)?.[0] ?? 0);
}
