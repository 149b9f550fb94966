import type { FolderSink } from '../../../src/hub/byte_sink.js';
import { writeText } from '../../../src/hub/byte_sink.js';
import { EMPTY_CONFIG, withValues } from '../../../src/hub/config_json.js';
import { asBytes, type TensorSpec } from '../../../src/hub/dtype.js';
import { writeModelFolder } from '../../../src/hub/folder.js';
import { writeSafetensors } from '../../../src/hub/safetensors.js';

/** A small checkpoint as a trainer writes it; every tensor holds the step, so that mixed-up files show. */
export function writeExample(folder: FolderSink, step: number, elements = 64): void {
  const specs = ['a', 'b', 'c'].map((name): TensorSpec => ({ name, dtype: 'F32', shape: [elements] }));
  const data = () => asBytes(new Float32Array(elements).fill(step));
  const config = withValues(EMPTY_CONFIG, { step });
  writeModelFolder(folder, { config, tensors: specs, data, maxShardBytes: 8 * elements });
  folder.file('trainer/moments.safetensors', (sink) => writeSafetensors(sink, specs, data));
  writeText(folder, 'trainer/state.json', JSON.stringify({ step }));
}
