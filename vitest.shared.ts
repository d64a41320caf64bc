import { existsSync, readdirSync } from 'node:fs';
import { defineConfig, type ViteUserConfig } from 'vitest/config';

/** What every project's tests share: packages resolve to their sources, and results are written for the summary. */
export function projectConfig(overrides: ViteUserConfig['test'] = {}): ViteUserConfig {
  return defineConfig({
    resolve: { conditions: ['@cloudos/source'] },
    ssr: { resolve: { conditions: ['@cloudos/source'] } },
    test: {
      include: ['src/**/*.spec.ts'],
      reporters: ['default', 'json'],
      outputFile: { json: 'reports/test.json' },
      passWithNoTests: true,
      testTimeout: 20_000,
      // Spec files that work on the machine itself (ports, namespaces, disks) run one after another.
      fileParallelism: !usesTheMachine(),
      ...overrides,
    },
  });
}

function usesTheMachine(): boolean {
  if (!existsSync('src')) return false;
  return readdirSync('src', { recursive: true }).some((file) => String(file).endsWith('.int.spec.ts'));
}
