export interface DeploymentOptions {
  readonly cpu?: string;
  readonly memory?: string;
  readonly command?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly more?: Readonly<Record<string, unknown>>;
}

/** A Deployment as kubectl would take it, in JSON. */
export function deployment(name: string, replicas: number, options: DeploymentOptions = {}): string {
  const { cpu = '100m', memory = '32Mi', command = ['sleep'], env = {}, more = {} } = options;
  const labels = { app: name };
  const container = {
    name: 'main',
    image: 'host:',
    command,
    resources: { requests: { cpu, memory } },
    env: Object.entries(env).map(([key, value]) => ({ name: key, value })),
  };
  return JSON.stringify({
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name },
    spec: {
      replicas,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [container], terminationGracePeriodSeconds: 5 } },
      ...more,
    },
  });
}
