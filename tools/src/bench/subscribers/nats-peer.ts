import { connect } from 'nats';
import { type Publishing, type ServerTasks, serveTasks } from './tasks.ts';

/** A publisher on NATS core, through its npm client. */
export async function natsPublisher(url: string): Promise<void> {
  const connection = await connect({ servers: url });
  const payload = Buffer.alloc(250, 'x');
  const tasks: ServerTasks = {
    where: async () => ({ url, token: '' }),
    publish: async ({ events, window }: Publishing, progress) => {
      for (let sent = 0; sent < events; sent++) {
        await progress.below(sent, window);
        connection.publish('bench', payload);
        if (sent % 64 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      await connection.flush();
    },
  };
  serveTasks(tasks);
}
