// Every public name of the package's root, and nothing else.

// replies and policies
export { builtinPolicies, classifyReply } from './builtin.ts'
export { CAUSES, type Cause, type Persistence, SCOPES, type Scope } from './core/cause.ts'
export type { AttemptRecord, DeliveryState, FailReason } from './core/delivery.ts'
// what can go wrong
export { type ErrorCode, SteadymailError } from './core/error.ts'
export type { OnUncertain, PriorityName } from './core/message.ts'
export type { ProviderPolicy, Reaction, ReplyRule, RetrySchedule, Warmup } from './core/policy.ts'
export type { PolicyExplanation } from './core/policy-explain.ts'
export type { Phase, Reply } from './core/reply.ts'
export { type Duration, duration, type Rate, rate } from './core/units.ts'
export type { Layer, ReplyContext, Verdict } from './core/verdict.ts'
export type { DropInInfo, DropInTransport } from './dropin.ts'
// what happens
export type {
  AboutLane,
  AboutMessage,
  AboutRecipient,
  EventMap,
  EventName,
  Listener,
  Listeners,
  MessageStatus,
  Outcome,
  RecipientStatus,
} from './events.ts'
export type { Binding, Explanation, LaneStatus } from './explain.ts'
// wrap a transport, send
export {
  type Health,
  type ListOptions,
  type Mailer,
  type UncertainDecision,
  wrapTransport,
} from './mailer.ts'
export type { SendOptions, WrapOptions } from './options.ts'
export type { Logger } from './report.ts'
// stores
export { memoryStore } from './stores/memory.ts'
export type { Store } from './stores/store.ts'
export type { Ticket } from './ticket.ts'
export type { TransporterLike, TransportInput, TransportOptions, TransportPlugin } from './transporter.ts'
