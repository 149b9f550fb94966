export {
  chooseDevice,
  type Device,
  type DeviceKind,
  device,
  deviceClock,
  memoryOf,
  synchronize,
  tagged,
} from './device.js';
export { GradientState } from './gradient.js';
export { type Graph, graphsPay, Repeated, recordGraph } from './graph.js';
export { readLater, type Values as TensorValues } from './later.js';
export { named } from './named.js';
export { gradientOfParameter, parameter, resetGradients } from './parameter.js';
export { keep, permanent, scope } from './scope.js';
export {
  checkpoint,
  differentiate,
  grad,
  gradientInPlace,
  gradientOf,
  noGrad,
  passGradient,
  record,
  recording,
  recordRoot,
  vectorJacobian,
} from './tape.js';
export { bytesOf, type DType, empty, from, type Shape, sizeOf, Tensor, type TensorOptions, zeros } from './tensor.js';
export { namedTensors, type Tree, tensorsIn } from './tree.js';
export { exchanged, insertDimension, reshape, rows, split } from './view.js';
