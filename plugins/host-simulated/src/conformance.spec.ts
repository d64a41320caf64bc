import { hostConformance } from '@cloudos/conformance';
import plugin from './plugin.ts';

hostConformance(plugin, { config: { world: 'conformance' } });
