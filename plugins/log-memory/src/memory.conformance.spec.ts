import { logConformance } from '@cloudos/conformance';
import plugin from './plugin.ts';

logConformance(plugin, { config: { freeze: true }, durable: false });
