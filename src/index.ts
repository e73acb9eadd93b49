// Every public name of the package's root, by what one does with it, and nothing else.

// Wrap a transport, send.

export type { OwnAnswer } from './answer.ts'
export type { Clock, Timer } from './clock.ts'
export { type ErrorCode, SteadymailError } from './core/error.ts'
export type { RateLimit, WarmupName } from './core/limits.ts'
export type { OnUncertain, PriorityName } from './core/message.ts'
export { type Duration, duration, type Rate, rate } from './core/units.ts'
export type { DropInInfo, DropInTransport } from './dropin.ts'
export type { EgressGate } from './gate.ts'
export type { MxLookup } from './grouping.ts'
export {
  type Health,
  type ListOptions,
  type Mailer,
  type UncertainDecision,
  wrapTransport,
} from './mailer.ts'
export type { EgressOptions, RetentionOptions, SendOptions, WrapOptions } from './options.ts'
export type { Logger } from './report.ts'
export type { Ticket } from './ticket.ts'
export type {
  TransporterLike,
  TransportFacts,
  TransportInput,
  TransportOptions,
  TransportPlugin,
} from './transporter.ts'

// What happens, and why.

export type { AttemptRecord, DeliveryState, FailReason } from './core/delivery.ts'
export type { LaneView } from './core/lane.ts'
export type { Hold } from './core/lane-state.ts'
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
export type { Binding, Explanation, LaneBinding, LaneStatus } from './explain.ts'

// Replies and policies.

export { builtinPolicies, classifyReply } from './builtin.ts'
export { CAUSES, type Cause, type Persistence, SCOPES, type Scope } from './core/cause.ts'
export type { Classifier, ClassifyContext } from './core/classify/classifier.ts'
export type { ProviderPolicy, Reaction, ReplyRule, RetrySchedule, Warmup } from './core/policy.ts'
export type { ExplainedValue, PolicyExplanation } from './core/policy-explain.ts'
export type { Origin } from './core/policy-parse.ts'
export type { Phase, Reply, ReplyTls } from './core/reply.ts'
export { type RuleProblem, type RuleSample, testRules } from './core/test-rules.ts'
export type { Layer, ReplyContext, Verdict } from './core/verdict.ts'

// Stores; then what a store of one's own is asked and answers.

export type { Delivery } from './core/delivery.ts'
export type { Message, Priority, WireOptions } from './core/message.ts'
export { memoryStore } from './stores/memory.ts'
export type {
  Added,
  Amendment,
  Claim,
  Claimed,
  ClaimRequest,
  Counts,
  ListFilter,
  NewDelivery,
  NewMessage,
  Notice,
  QueueHead,
  QueueName,
  Room,
  Settlement,
  Store,
  Stored,
  StoredLane,
  Turn,
  TurnResult,
} from './stores/store.ts'
