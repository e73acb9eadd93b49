// For tests: of steadymail itself, of your policies, of your store.

// time that moves when told, or faster
export type { Clock, Timer } from './clock.ts'
// a policy tried before production
export type { LaneHold, LaneStep, SimulatedLane, Simulation } from './testing/ledger.ts'
export { type ManualClock, manualClock } from './testing/manual-clock.ts'
export type { ReceiverSpec } from './testing/models.ts'
export { type PictureOptions, picture } from './testing/picture.ts'
export type { Plan, SimulatedProvider, Traffic } from './testing/plan.ts'
export { scaledClock } from './testing/scaled-clock.ts'
export {
  type RecordedAttempt,
  type ScriptedAnswer,
  type ScriptedAnswers,
  type ScriptedAttempt,
  type ScriptedInfo,
  type ScriptedTransport,
  type ScriptedTransportOptions,
  scriptedTransport,
  type TransportScript,
} from './testing/scripted-transport.ts'
export { simulate } from './testing/simulate.ts'
// servers and transports that say what you want
export {
  during,
  type GreylistOptions,
  greylist,
  maxConnections,
  maxMessagesPerConnection,
  maxRecipients,
  type RateLimitOptions,
  type ReplyText,
  rateLimit,
  recipients,
  type SmtpAnswer,
  type SmtpCounts,
  type SmtpEvent,
  type SmtpLogLine,
  type SmtpMessage,
  type SmtpPhase,
  type SmtpScript,
  type SmtpScriptFunction,
  type SmtpScriptRule,
  type SmtpServer,
  type SmtpServerOptions,
  type SmtpSession,
  smtpServer,
  type TestCertificate,
  type TestCertificateOptions,
  testCertificate,
} from './testing/smtp-server.ts'
// the suite every store passes
export { type StoreSubject, sampleMessage, storeContract, type TestRunner } from './testing/store-contract.ts'
