import { orchestratorConformance } from '@cloudos/conformance';
import { describe, expect, it } from 'vitest';
import plugin from './plugin.ts';

function declare({ replicas, version }: { replicas: number; version: string }): string {
  return `
apiVersion: apps/v1
kind: Deployment
metadata: { name: web, namespace: shop }
spec:
  replicas: ${replicas}
  selector: { matchLabels: { app: web } }
  strategy: { rollingUpdate: { maxSurge: 25%, maxUnavailable: 1 } }
  template:
    metadata: { labels: { app: web } }
    spec:
      containers:
        - name: web
          image: "host:"
          env: [{ name: VERSION, value: "${version}" }]
          ports: [{ name: http, containerPort: 8080 }]
          readinessProbe: { httpGet: { port: http } }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec: { selector: { app: web }, ports: [{ port: 80, targetPort: http }] }
`;
}

orchestratorConformance(plugin, {
  manifests: {
    workload: 'shop/web',
    service: 'shop/web',
    declare,
    refused: [
      { text: 'a: [', code: 'MANIFEST_MALFORMED' },
      { text: '{apiVersion: v1, kind: Secret}', code: 'MANIFEST_KIND_UNKNOWN' },
      { text: `${declare({ replicas: 1, version: '1' })}---\n{apiVersion: v1, kind: Pod}`, code: 'MANIFEST_INVALID' },
    ],
  },
});

describe('configuration', () => {
  it('has defaults and refuses what it does not know', () => {
    expect(plugin.config.parse({})).toMatchObject({
      drainMs: 500,
      restartBackoffMs: { initial: 10_000, max: 300_000, resetAfter: 600_000 },
      changesPerReactMax: 2_000,
    });
    expect(plugin.config.safeParse({ drain: 1 }).success).toBe(false);
    expect(plugin.config.safeParse({ drainMs: -1 }).success).toBe(false);
  });
});
