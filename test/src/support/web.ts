import { Agent, request } from 'node:http';

/** A web server for a guest: answers with its host name and RELEASE, and ends politely on SIGTERM. */
export const serverScript = [
  "const { createServer } = require('node:http');",
  "const answer = () => require('node:os').hostname() + ' ' + (process.env.RELEASE || '') + '\\n';",
  'const server = createServer((request, response) => response.end(answer()));',
  "server.listen(8080, () => console.log('listening'));",
  "process.on('SIGTERM', () => { console.log('closing'); server.close(() => process.exit(0)); server.closeIdleConnections(); });",
].join('\n');

export interface WebOptions {
  readonly release: string;
  readonly port: number;
}

/** A Deployment of that web server and a Service in front of it. */
export function webManifest(name: string, replicas: number, { release, port }: WebOptions): string {
  const labels = { app: name };
  const container = {
    name: 'main',
    image: 'host:',
    command: ['node', '-e', serverScript],
    env: [{ name: 'RELEASE', value: release }],
    ports: [{ name: 'http', containerPort: 8080 }],
    resources: { requests: { cpu: '50m', memory: '64Mi' }, limits: { memory: '256Mi' } },
    // It fails for what it finds, not because the machine is busy.
    readinessProbe: { httpGet: { path: '/', port: 'http' }, periodSeconds: 1, timeoutSeconds: 60 },
  };
  const deployment = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [container], terminationGracePeriodSeconds: 5 } },
    },
  };
  const service = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name },
    spec: { selector: labels, ports: [{ name: 'http', port, targetPort: 'http' }] },
  };
  return [deployment, service].map((document) => JSON.stringify(document)).join('\n---\n');
}

export interface Answer {
  readonly status: number;
  readonly body: string;
}

/** What an answer may take: far more than it does, also on a busy machine. */
const answerMaxMs = 60_000;

/** One request. @param agent keeps connections; without one each request has its own */
export function get(url: string, agent?: Agent): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = request(url, { agent: agent ?? false, timeout: answerMaxMs }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        body += part;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: body.trim() }));
      response.on('error', reject);
    });
    sent.on('timeout', () => sent.destroy(new Error(`no answer in ${answerMaxMs} ms`)));
    sent.on('error', reject);
    sent.end();
  });
}

/** Keeps sending requests until told to stop; every answer and every failure is kept. */
export class Traffic {
  readonly answers: Answer[] = [];
  readonly failures: string[] = [];
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 4 });
  readonly #running: Promise<void>;
  #stopped = false;

  constructor(url: string) {
    this.#running = Promise.all([this.#send(url, this.#agent), this.#send(url)]).then(() => {});
  }

  /** How many answers have come from each server, by body. */
  tally(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { body } of this.answers) counts[body] = (counts[body] ?? 0) + 1;
    return counts;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#running;
    this.#agent.destroy();
  }

  async #send(url: string, agent?: Agent): Promise<void> {
    while (!this.#stopped) {
      try {
        const answer = await get(url, agent);
        this.answers.push(answer);
        if (answer.status !== 200) this.failures.push(`status ${answer.status}: ${answer.body}`);
      } catch (error) {
        this.failures.push(String(error));
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}
