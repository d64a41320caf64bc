import { apiConformance } from '@cloudos/conformance';
import plugin from './plugin.ts';

apiConformance(plugin, { path: '/health' });
