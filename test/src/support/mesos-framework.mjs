// A framework made with the npm package `mesos-framework` as it is. Tells its parent what happens; takes
// `kill <task> <agent>`, `subscribe` and `teardown` from it.
import mesosFramework from 'mesos-framework';

const { Mesos, Scheduler } = mesosFramework;
const { CommandInfo } = Mesos.getMesos();
const [port, logs, instances] = process.argv.slice(2);
const say = (event) => process.send(event);

const scheduler = new Scheduler({
  masterUrl: '127.0.0.1',
  port,
  frameworkName: 'sleepers',
  logging: { path: logs, fileName: 'framework.log', level: 'info' },
  tasks: {
    sleeper: {
      instances: Number(instances),
      commandInfo: new CommandInfo(
        null,
        null,
        true,
        'echo "host $HOST, task $MESOS_TASK_ID"; exec sleep 100000',
        null,
        null,
      ),
      resources: { cpus: 0.1, mem: 32, ports: 1, disk: 0 },
    },
  },
});
scheduler.on('subscribed', ({ frameworkId }) => say({ event: 'subscribed', frameworkId }));
scheduler.on('update', ({ status }) =>
  say({ event: 'update', task: status.task_id.value, agent: status.agent_id?.value, state: status.state }),
);
scheduler.on('offers', ({ offers }) => say({ event: 'offers', count: offers.length }));
scheduler.on('heartbeat', () => say({ event: 'heartbeat' }));
scheduler.on('error', (error) => say({ event: 'error', message: error.message ?? String(error) }));
scheduler.on('ready', () => scheduler.subscribe());

process.on('message', (line) => {
  const [command, ...words] = line.split(' ');
  if (command === 'kill') scheduler.kill(...words);
  else if (command === 'subscribe') {
    delete scheduler.requestTemplate.headers['mesos-stream-id'];
    scheduler.subscribe();
  } else if (command === 'teardown') scheduler.teardown();
});
