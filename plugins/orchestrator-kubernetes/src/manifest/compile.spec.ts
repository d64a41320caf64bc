import { readFileSync } from 'node:fs';
import { checkEvent, guestTemplate, isRefusal } from '@cloudos/sdk';
import { describe, expect, it } from 'vitest';
import { type Compiled, compile } from './compile.ts';
import { defaultPriorityClasses } from './pod.ts';

function read(text: string): Compiled {
  const compiled = compile(text, 'test.yaml', defaultPriorityClasses);
  if (isRefusal(compiled)) throw new Error(`${compiled.refused.code}: ${compiled.refused.message}`);
  return compiled;
}

function refusal(text: string): string {
  const compiled = compile(text, 'test.yaml', defaultPriorityClasses);
  if (!isRefusal(compiled)) throw new Error(`taken: ${JSON.stringify(compiled)}`);
  return `${compiled.refused.code} ${compiled.refused.message}`;
}

/** A deployment with changes by dotted path; undefined takes a field away. */
function deployment(changes: Record<string, unknown> = {}): string {
  const manifest: Record<string, unknown> = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web' },
    spec: {
      replicas: 4,
      selector: { matchLabels: { app: 'web' } },
      template: {
        metadata: { labels: { app: 'web' } },
        spec: { containers: [{ name: 'c', image: 'host:', ports: [{ name: 'http', containerPort: 8080 }] }] },
      },
    },
  };
  for (const [path, value] of Object.entries(changes)) {
    const keys = path.split('.').map((key) => key.replaceAll('|', '.'));
    const last = keys.pop() ?? '';
    let at = manifest;
    for (const key of keys) {
      at[key] ??= {};
      at = at[key] as Record<string, unknown>;
    }
    if (value === undefined) delete at[last];
    else at[last] = value;
  }
  return JSON.stringify(manifest);
}

const container = 'spec.template.spec.containers.0';

describe('compile', () => {
  it('reads the examples without a warning', () => {
    for (const name of ['web', 'pod']) {
      const { workloads, services, warnings } = read(
        readFileSync(new URL(`../../../../examples/${name}.yaml`, import.meta.url), 'utf8'),
      );
      expect(warnings).toEqual([]);
      expect(workloads).toHaveLength(1);
      for (const service of services) expect(checkEvent('ServiceDeclared', service)).toEqual(service);
    }
  });

  it('reads everything that a template can say', () => {
    const [web] = read(
      deployment({
        'spec.template.metadata.annotations': { 'cloudos.io/pids-limit': '64' },
        'spec.template.spec.nodeSelector': { 'kubernetes.io/arch': 'amd64', disk: 'ssd', 'kubernetes.io/os': 'linux' },
        'spec.template.spec.nodeName': 'n1',
        'spec.template.spec.hostname': 'box',
        'spec.template.spec.runtimeClassName': 'zones',
        'spec.template.spec.priorityClassName': 'system-cluster-critical',
        'spec.template.spec.terminationGracePeriodSeconds': 5,
        'spec.template.spec.securityContext': { runAsUser: 7 },
        [`${container}.securityContext`]: { readOnlyRootFilesystem: true },
        [`${container}.env`]: [
          { name: 'A', value: 'x' },
          { name: 'B', value: '$(A)y $$(A) $(C)' },
        ],
        [`${container}.command`]: ['run', '$(B)'],
        [`${container}.resources`]: {
          limits: { cpu: '0.5', memory: '128Mi', 'ephemeral-storage': '1Gi', 'vendor.com/gpu': 2 },
          requests: { cpu: '100m' },
        },
        [`${container}.readinessProbe`]: { httpGet: { path: 'ready', port: 'http' } },
        [`${container}.livenessProbe`]: { tcpSocket: { port: 8080 }, periodSeconds: 2 },
        [`${container}.startupProbe`]: { exec: { command: ['true'] }, failureThreshold: 30 },
        'spec.minReadySeconds': 3,
        'spec.progressDeadlineSeconds': 60,
      }),
    ).workloads;
    expect(web).toMatchObject({
      workload: 'default/web',
      node: 'n1',
      priority: 900,
      minReadyMs: 3000,
      progressDeadlineMs: 60_000,
      constraints: [
        { attribute: 'arch', operator: 'in', values: ['amd64', 'x86_64', 'x64'] },
        { attribute: 'disk', operator: 'in', values: ['ssd'] },
      ],
      template: {
        command: ['run', 'xy $(A) $(C)'],
        env: [
          { name: 'A', value: 'x' },
          { name: 'B', value: 'xy $(A) $(C)' },
        ],
        hostname: 'box',
        runtime: 'zones',
        user: 7,
        readOnlyRoot: true,
        stopGraceMs: 5000,
        requests: { cpuMillis: 100, memoryBytes: 134_217_728, pids: 64, custom: { 'vendor.com/gpu': 2 } },
        limits: { cpuMillis: 500, memoryBytes: 134_217_728, diskBytes: 1_073_741_824, pids: 64 },
        readiness: { check: { kind: 'http', port: 8080, path: '/ready' }, periodMs: 10_000, failureThreshold: 3 },
        liveness: { check: { kind: 'tcp', port: 8080 }, periodMs: 2000, timeoutMs: 1000 },
        startup: { check: { kind: 'exec', command: ['true'] }, failureThreshold: 30 },
      },
    });
  });

  it('reads secrets by reference and paths of the node', () => {
    const text = deployment({
      'metadata.namespace': 'shop',
      'spec.template.spec.volumes': [
        { name: 'data', hostPath: { path: '/srv/data' } },
        { name: 'conf', hostPath: { path: '/srv/web.conf', type: 'File' } },
      ],
      [`${container}.env`]: [
        { name: 'PASSWORD', valueFrom: { secretKeyRef: { name: 'db', key: 'pass.word', optional: false } } },
        { name: 'NAME', value: '$$(PASSWORD)' },
      ],
      [`${container}.volumeMounts`]: [
        { name: 'data', mountPath: '/data' },
        { name: 'conf', mountPath: '/etc/web.conf', readOnly: true },
      ],
    });
    const { workloads, warnings } = read(text);
    expect(workloads[0]?.template).toMatchObject({
      env: [
        { name: 'PASSWORD', secret: 'shop/db/pass.word' },
        { name: 'NAME', value: '$(PASSWORD)' },
      ],
      mounts: [
        { hostPath: '/srv/data', target: '/data', readOnly: false },
        { hostPath: '/srv/web.conf', target: '/etc/web.conf', readOnly: true },
      ],
    });
    expect(guestTemplate.parse(workloads[0]?.template)).toEqual(workloads[0]?.template);
    expect(warnings).toEqual([expect.stringContaining('volumes[1].hostPath.type: not checked')]);
    const secretInCommand = JSON.parse(text);
    secretInCommand.spec.template.spec.containers[0].args = ['--password', '$(PASSWORD)'];
    expect(refusal(JSON.stringify(secretInCommand))).toContain('containers[0].args: $(PASSWORD) is a secret');
  });

  it('reads company, owner, ports of the node and extended resources', () => {
    const near = { labelSelector: { matchLabels: { app: 'db' } }, topologyKey: 'topology.kubernetes.io/zone' };
    const apart = {
      labelSelector: { matchExpressions: [{ key: 'app', operator: 'In', values: ['web'] }] },
      topologyKey: 'kubernetes.io/hostname',
    };
    const [web] = read(
      deployment({
        'metadata.labels': { 'cloudos.io/owner': 'eng/search' },
        'spec.template.metadata.annotations': { 'cloudos.io/tags': 'spark, hot', 'cloudos.io/user': 'ann' },
        'spec.template.spec.affinity': {
          podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [{ ...near, namespaces: ['data'] }] },
          podAntiAffinity: {
            preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 5, podAffinityTerm: apart }],
          },
          nodeAffinity: {
            requiredDuringSchedulingIgnoredDuringExecution: {
              nodeSelectorTerms: [
                { matchExpressions: [{ key: 'kubernetes.io/arch', operator: 'In', values: ['arm64'] }] },
              ],
            },
          },
        },
        'spec.template.spec.topologySpreadConstraints': [{ ...near, maxSkew: 2, whenUnsatisfiable: 'DoNotSchedule' }],
        'spec.template.spec.tolerations': [{ operator: 'Exists' }],
        [`${container}.ports`]: [{ containerPort: 8080, hostPort: 80 }],
        [`${container}.resources`]: { limits: { 'nvidia.com/gpu': 1 } },
      }),
    ).workloads;
    expect(web).toMatchObject({
      owner: 'eng/search',
      user: 'ann',
      tags: ['spark', 'hot'],
      hostPorts: [80],
      constraints: [{ attribute: 'arch', operator: 'in', values: ['arm64', 'aarch64'] }],
      placement: [
        { scope: 'zone', tags: ['data/app=db'], min: 1, required: true },
        { scope: 'node', tags: ['default/app=web'], max: 0, required: false, weight: 5 },
        { scope: 'zone', tags: ['default/app=db'], maxSkew: 2, required: true },
      ],
      template: { requests: { custom: { 'nvidia.com/gpu': 1 } } },
    });
  });

  it.each([
    ['metadata.annotations', { 'cloudos.io/owner': 'a//b' }, 'expected names with a slash between them'],
    [
      'spec.template.spec.topologySpreadConstraints',
      [{ topologyKey: 'zone', labelSelector: { matchLabels: { a: 'b' } } }],
      'topologySpreadConstraints[0].maxSkew: given nothing',
    ],
    [
      'spec.template.spec.affinity',
      { podAffinity: { requiredDuringSchedulingIgnoredDuringExecution: [{ topologyKey: 'zone' }] } },
      'labelSelector: given nothing',
    ],
  ])('refuses %s = %j', (path, value, message) => {
    expect(refusal(deployment({ [path]: value }))).toContain(message);
  });

  it('opens a List and skips empty documents', () => {
    const service = {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 's' },
      spec: { ports: [{ port: 80 }], selector: { a: 'b' } },
    };
    const list = { apiVersion: 'v1', kind: 'List', items: [service, JSON.parse(deployment())] };
    const compiled = read(`---\n---\n${JSON.stringify(list)}\n---\n# nothing\n`);
    expect(compiled.services[0]?.ports).toEqual([{ port: 80, targetPort: 80, protocol: 'tcp' }]);
    expect(compiled.workloads).toHaveLength(1);
  });

  it('warns about unknown fields by their whole path, with the near miss', () => {
    const { warnings } = read(
      deployment({
        [`${container}.foo`]: 1,
        [`${container}.comand`]: ['x'],
        'spec.template.spec.schedulerName': 'mine',
      }),
    );
    expect(warnings).toEqual([
      expect.stringContaining('spec.template.spec.containers[0].foo: unknown field, ignored'),
      expect.stringContaining(
        'spec.template.spec.containers[0].comand: unknown field, ignored (did you mean command?)',
      ),
      expect.stringContaining('spec.template.spec.schedulerName: ignored'),
    ]);
  });

  it.each([
    ['spec.replicas', '3', 'spec.replicas: given "3", expected a whole number'],
    ['spec.replicas', -1, 'spec.replicas: given -1'],
    ['metadata.name', 'Web_1', 'metadata.name: given "Web_1"'],
    ['metadata.name', undefined, 'metadata.name: given nothing'],
    ['spec.selector', undefined, 'spec.selector: given nothing'],
    ['spec.selector.matchLabels', { app: 'other' }, 'spec.template.metadata.labels.app: given "web", expected other'],
    ['spec.template', undefined, 'spec.template: given nothing'],
    ['spec.template', [], 'spec.template: given [], expected a mapping'],
    ['spec.template.spec.restartPolicy', 'Never', 'spec.template.spec.restartPolicy: given "Never", expected Always'],
    ['spec.template.spec.volumes', [{ name: 'v' }], 'spec.template.spec.volumes[0]: names no kind of volume'],
    [
      'spec.template.spec.volumes',
      [{ name: 'v', emptyDir: {} }],
      'spec.template.spec.volumes[0].emptyDir: is not supported: volumes are hostPath alone',
    ],
    [
      'spec.template.spec.volumes',
      [{ name: 'v', hostPath: { path: '/a/../b' } }],
      'volumes[0].hostPath.path: given "/a/../b", expected an absolute path',
    ],
    [
      'spec.template.spec.volumes',
      [{ name: 'v', hostPath: { path: '/a', type: 'DirectoryOrCreate' } }],
      'volumes[0].hostPath.type: given "DirectoryOrCreate"',
    ],
    [
      `${container}.volumeMounts`,
      [{ name: 'v', mountPath: '/d' }],
      'volumeMounts[0].name: given "v", expected a volume',
    ],
    [`${container}.volumeMounts`, [{ name: 'v', mountPath: '/' }], 'volumeMounts[0].mountPath: given "/"'],
    [`${container}.volumeMounts`, [{ name: 'v', mountPath: '/d', subPath: 'x' }], 'subPath: is not supported'],
    ['spec.template.spec.initContainers', [{ name: 'i' }], 'spec.template.spec.initContainers: is not supported'],
    [
      'spec.template.spec.priorityClassName',
      'nope',
      'priorityClassName: given "nope", expected one of system-node-critical',
    ],
    [`${container}.image`, undefined, 'containers[0].image: given nothing'],
    [`${container}.env`, [{ name: 'A', value: 1 }], 'containers[0].env[0].value: given 1, expected a string'],
    [
      `${container}.env`,
      [{ name: 'A', valueFrom: { secretKeyRef: {} } }],
      'env[0].valueFrom.secretKeyRef.name: given nothing',
    ],
    [
      `${container}.env`,
      [{ name: 'A', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }],
      'env[0].valueFrom.fieldRef: is not supported',
    ],
    [
      `${container}.env`,
      [{ name: 'A', valueFrom: { secretKeyRef: { name: '..', key: 'k' } } }],
      'env[0].valueFrom.secretKeyRef: given "../k"',
    ],
    [
      `${container}.env`,
      [{ name: 'A', valueFrom: { secretKeyRef: { name: 'db', key: 'a/b' } } }],
      'env[0].valueFrom.secretKeyRef: given "db/a/b"',
    ],
    [
      `${container}.env`,
      [{ name: 'A', valueFrom: { secretKeyRef: { name: 'db', key: 'k', optional: true } } }],
      'secretKeyRef.optional: is not supported',
    ],
    [
      `${container}.env`,
      [
        { name: 'A', valueFrom: { secretKeyRef: { name: 'db', key: 'k' } } },
        { name: 'B', value: 'postgres://$(A)@db' },
      ],
      'env[1].value: $(A) is a secret',
    ],
    [`${container}.resources`, { limits: { cpu: '1x' } }, 'resources.limits.cpu: given "1x", expected a quantity'],
    [`${container}.resources`, { limits: { cpu: 1 }, requests: { cpu: 2 } }, 'the request is larger than the limit'],
    [
      `${container}.readinessProbe`,
      { httpGet: { port: 'nope' } },
      'readinessProbe.httpGet.port: given "nope", expected the name of a port of the container (http)',
    ],
    [`${container}.readinessProbe`, {}, 'readinessProbe: expected exactly one of'],
    [
      `${container}.livenessProbe`,
      { tcpSocket: { port: 1 }, successThreshold: 2 },
      'livenessProbe.successThreshold: given 2, expected 1',
    ],
    [`${container}.securityContext`, { privileged: true }, 'privileged guests are not supported'],
    [
      'spec.strategy',
      { type: 'RollingUpdate', rollingUpdate: { maxSurge: 0, maxUnavailable: '0%' } },
      'may not both be 0',
    ],
    ['spec.strategy', { rollingUpdate: { maxSurge: 'half' } }, 'spec.strategy.rollingUpdate.maxSurge: given "half"'],
    ['spec.strategy', { type: 'Recreate', rollingUpdate: {} }, 'may not be given when the type is Recreate'],
    ['spec.template.metadata.annotations', { 'cloudos.io/pids-limit': 'many' }, 'pids-limit: given "many"'],
  ])('refuses %s = %j', (path, value, message) => {
    const text = refusal(deployment({ [path]: value }));
    expect(text).toContain('MANIFEST_INVALID');
    expect(text).toContain(message);
    expect(text).toContain('document 1');
  });

  it('refuses kinds that it does not know by name, with those that it knows', () => {
    const text = refusal(`${deployment()}\n---\n{apiVersion: apps/v1, kind: Deploymnt, metadata: {name: x}}`);
    expect(text).toMatch(
      /^MANIFEST_KIND_UNKNOWN test.yaml: document 2: kind Deploymnt .*did you mean Deployment\?.*ReplicaSet \(apps\/v1\)/,
    );
    expect(refusal('{apiVersion: extensions/v1beta1, kind: Deployment}')).toContain('apiVersion extensions/v1beta1');
    expect(refusal('{apiVersion: v1, kind: Secret}')).toContain('secrets never enter the log');
    expect(refusal('a: 1')).toContain('given no kind');
  });

  it('says where malformed text is wrong', () => {
    expect(refusal('a: 1\n---\nb: [1\nc: 2\n')).toMatch(/^MANIFEST_MALFORMED test.yaml: line 4, column 1: /);
    expect(refusal('kind: Pod\nkind: Pod\n')).toMatch(
      /^MANIFEST_MALFORMED .*line 2, column 1: Map keys must be unique/,
    );
    expect(refusal('just text')).toContain('MANIFEST_INVALID');
    expect(refusal('')).toContain('given no object');
    const bomb = [
      'a: &a [x,x,x,x,x,x,x,x,x,x]',
      ...'bcdefgh'.split('').map((name, index) => {
        const before = 'abcdefg'[index];
        return `${name}: &${name} [${Array(10).fill(`*${before}`).join(',')}]`;
      }),
    ].join('\n');
    expect(refusal(bomb)).toMatch(/^MANIFEST_MALFORMED .*alias/);
  });

  it('refuses one object declared twice', () => {
    expect(refusal(`${deployment()}\n---\n${deployment()}`)).toContain('is declared in document 1 already');
  });
});
