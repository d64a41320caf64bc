import { logConformance } from '@cloudos/conformance';
import plugin from './plugin.ts';

logConformance(plugin, { config: { mapSizeBytes: 16 * 1024 * 1024 }, durable: true });
