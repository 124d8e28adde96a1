"""The fields of the messages of the contract. Generated from it: `python3 tasks.py generate`."""

from callback_cli.fields import Field

MESSAGES = {
    "ListAuditEntriesRequest": (
        Field(
            "page_size",
            "page_size",
            "number",
            help="The maximum number of entries to return.",
        ),
        Field(
            "page_token",
            "page_token",
            "text",
            help="The `next_page_token` of the previous page, with the same filters.",
        ),
        Field(
            "owner",
            "owner",
            "text",
            help="Only entries about callbacks of this owner.",
        ),
        Field(
            "actor",
            "actor",
            "text",
            help="Only entries of changes by this principal.",
        ),
        Field(
            "action",
            "action",
            "enum",
            of="AuditAction",
            words=(
                "response_set",
                "call_answered",
                "callback_resolved",
                "callback_closed",
                "callback_extended",
                "calls_erased",
                "call_replayed",
                "activity_paused",
                "activity_resumed",
                "principals_read",
            ),
            help="Only entries of one kind of change.",
        ),
        Field(
            "callback_case_id",
            "case_id",
            "text",
            help="Only entries about this callback, also after the callback was deleted.",
        ),
        Field(
            "callback_activity",
            "activity",
            "text",
            help="Only entries about this activity and its callbacks.",
        ),
        Field(
            "recorded_after",
            "recorded_after",
            "time",
            help="Only entries of this time or later.",
        ),
        Field(
            "recorded_before",
            "recorded_before",
            "time",
            help="Only entries of an earlier time than this.",
        ),
    ),
    "VerifyAuditRequest": (
        Field(
            "page_token",
            "page_token",
            "text",
            help="The `next_page_token` of the previous page, with the same heads.",
        ),
        Field(
            "heads",
            "heads",
            "message",
            of="AuditHead",
            is_repeated=True,
            help="Heads of an earlier response, kept outside of the store.",
        ),
    ),
    "GenerateCallbackUrlRequest": (
        Field(
            "callback_activity",
            "activity",
            "text",
            is_required=True,
            help="Names the activity that decides on a call: `record` (store the call, send the response of the "
            "callback), `form` (hold the call for a person), an activity with a push handler that the "
            "configuration of the server declares, or any other name, which belongs to the workers that serve it.",
        ),
        Field(
            "callback_activity_case",
            "activity_case",
            "text",
            help="Passed to the handler unchanged.",
        ),
        Field(
            "state_query_parameter",
            "state_query_parameter",
            "text",
            help="Makes the URL `{base}/cbq/{param}?{param}={state}`, for systems that only pass a state along (OAuth "
            "`state`, SAML `RelayState`).",
        ),
        Field(
            "retryable_after_error",
            "retryable_after_error",
            "bool",
            help="Keeps a single-use callback (a callback without `allow_multiple_calls`) open after a rejected, "
            "failed or interrupted call.",
        ),
        Field(
            "allow_multiple_calls",
            "allow_multiple_calls",
            "bool",
            help="Makes the callback accept any number of calls, whatever their results, until it is closed or "
            "expires.",
        ),
        Field(
            "alternative_domain",
            "alternative_domain",
            "text",
            help="The `{base}` of the URL: `https://host` or `https://host:port`, without path, query, fragment or "
            "user.",
        ),
        Field(
            "response",
            "response",
            "message",
            of="Response",
            is_required=True,
            help="The response to a call, unless the handler overrides it.",
        ),
        Field(
            "request_id",
            "request_id",
            "text",
            help="Makes the request safe to retry.",
        ),
        Field(
            "time_to_live",
            "time_to_live",
            "duration",
            help="The time after which the callback closes with reason EXPIRED.",
            default="the configuration of the server, or never",
        ),
        Field(
            "labels",
            "labels",
            "map",
            help="Name-value pairs of the owner, to find the callback again.",
        ),
        Field(
            "verification_profile",
            "verification_profile",
            "text",
            help="The profile that every request must pass; otherwise the caller gets a 401 and nothing changes.",
        ),
        Field(
            "get_guard",
            "get_guard",
            "enum",
            of="GetGuard",
            words=(
                "off",
                "detect",
                "confirm",
            ),
            help="Selects how a GET that may come from a program is handled.",
            default="OFF",
        ),
        Field(
            "answer_mode",
            "answer_mode",
            "enum",
            of="AnswerMode",
            words=(
                "handler",
                "hold",
                "ack",
            ),
            help="Selects how a call gets its response.",
            default="HANDLER; for the activity `form` it is always HOLD",
        ),
        Field(
            "answer_deadline",
            "answer_deadline",
            "duration",
            help="The time after the start of a call at which a caller without a response gets `fallback`.",
            default="2 seconds for a browser, 300 seconds for any other caller of a held call",
        ),
        Field(
            "fallback",
            "fallback",
            "message",
            of="Response",
            help="The response that a caller gets at `answer_deadline`.",
        ),
        Field(
            "ordered",
            "ordered",
            "bool",
            help="Makes the server deliver the calls of an ACK callback one after the other, in their order: a call "
            "waits until the call before it is DELIVERED or DEAD.",
        ),
        Field(
            "closed_response",
            "closed_response",
            "message",
            of="Response",
            help="The response to a request that reaches the callback once it is closed and passes the verification, "
            "until the callback is deleted.",
            default="a 410, or a 404 on `/cbq/`",
        ),
        Field(
            "prompt",
            "prompt",
            "message",
            of="Prompt",
            help="What the page of the guard CONFIRM asks: a title, a text and choices.",
            default="whether to continue",
        ),
        Field(
            "hold_time",
            "hold_time",
            "duration",
            help="How long a call of a HOLD callback waits for its answer.",
            default="300 seconds",
        ),
        Field(
            "repeat_window",
            "repeat_window",
            "duration",
            help="How long after the end of a call the same request gets the answer of that call again, in place of "
            "making another call: a reload, a double click, a form that is sent again.",
            default="2 minutes; 0 if `allow_multiple_calls` is set",
        ),
        Field(
            "no_repeat",
            "no_repeat",
            "bool",
            help="Whether no answer is given twice, for example because it contains a secret: a repeat gets a 410.",
        ),
        Field(
            "remind_after",
            "remind_after",
            "duration",
            is_repeated=True,
            help="The times after the creation of the callback at which the handler of the activity is told that the "
            "callback is neither closed nor resolved: a REMINDER.",
        ),
        Field(
            "notify",
            "notify",
            "enum",
            of="CallReason",
            is_repeated=True,
            words=(
                "call",
                "reminder",
                "expiry",
            ),
            help="Selects the notifications that the handler of the activity gets.",
        ),
    ),
    "SetResponseRequest": (
        Field(
            "callback_case_id",
            "case_id",
            "text",
            is_required=True,
            help="The callback.",
        ),
        Field(
            "response",
            "response",
            "message",
            of="Response",
            is_required=True,
            help="Holds the new values.",
        ),
        Field(
            "update_mask",
            "update_mask",
            "mask",
            help="Names the attributes to replace, by the field names of Response.",
            default="the attributes that `response` sets",
        ),
    ),
    "AnswerCallRequest": (
        Field(
            "call_id",
            "call_id",
            "text",
            is_required=True,
            help="The held call.",
        ),
        Field(
            "response",
            "response",
            "message",
            of="Response",
            help="Overrides the response that the callback has now after ACCEPTED: each attribute that is set replaces "
            "that of the callback.",
        ),
        Field(
            "verdict",
            "verdict",
            "enum",
            of="Verdict",
            words=(
                "accepted",
                "rejected",
            ),
            help="Whether the data was accepted.",
            default="ACCEPTED",
        ),
        Field(
            "keep_open",
            "keep_open",
            "bool",
            help="After ACCEPTED on a single-use callback, records the success and opens the callback again for "
            "another call.",
        ),
        Field(
            "close",
            "close",
            "bool",
            help="After ACCEPTED, records the success and closes the callback with reason CONSUMED, also where the "
            "callback allows multiple calls.",
        ),
        Field(
            "no_repeat",
            "no_repeat",
            "bool",
            help="Whether the answer must not be given twice: a repeat of the request gets a 410.",
        ),
    ),
    "ResolveCallbackRequest": (
        Field(
            "callback_case_id",
            "case_id",
            "text",
            is_required=True,
            help="The callback.",
        ),
        Field(
            "response",
            "response",
            "message",
            of="Response",
            help="Overrides the response that the callback has now after ACCEPTED: each attribute that is set replaces "
            "that of the callback.",
        ),
        Field(
            "verdict",
            "verdict",
            "enum",
            of="Verdict",
            words=(
                "accepted",
                "rejected",
            ),
            help="Whether the data of the calls was accepted.",
            default="ACCEPTED",
        ),
        Field(
            "no_repeat",
            "no_repeat",
            "bool",
            help="Gives the answer to each call only once: the same request again gets a 410.",
        ),
    ),
    "CloseCallbackRequest": (
        Field(
            "callback_case_id",
            "case_id",
            "text",
            is_required=True,
            help="The callback.",
        ),
    ),
    "ExtendCallbackRequest": (
        Field(
            "callback_case_id",
            "case_id",
            "text",
            is_required=True,
            help="The callback.",
        ),
        Field(
            "expire_time",
            "expire_time",
            "time",
            is_required=True,
            help="The time at which the callback closes with reason EXPIRED.",
        ),
    ),
    "GetCallbackRequest": (
        Field(
            "callback_case_id",
            "case_id",
            "text",
            is_required=True,
            help="The callback.",
        ),
    ),
    "ListCallbacksRequest": (
        Field(
            "page_size",
            "page_size",
            "number",
            help="The maximum number of callbacks to return.",
        ),
        Field(
            "page_token",
            "page_token",
            "text",
            help="The `next_page_token` of the previous page, with the same filter.",
        ),
        Field(
            "status",
            "status",
            "enum",
            of="CallbackStatus",
            words=(
                "open",
                "in_progress",
                "closed",
            ),
            help="Only callbacks in this status.",
        ),
        Field(
            "callback_activity",
            "activity",
            "text",
            help="Only callbacks of this activity.",
        ),
        Field(
            "labels",
            "labels",
            "map",
            help="Only callbacks that have all of these labels.",
        ),
        Field(
            "owner",
            "owner",
            "text",
            help="The owner of the callbacks.",
        ),
        Field(
            "last_call_status",
            "last_call_status",
            "enum",
            of="CallStatus",
            words=(
                "running",
                "succeeded",
                "rejected",
                "failed",
                "interrupted",
                "not_started",
            ),
            help="Only callbacks whose newest recorded call has this status.",
        ),
        Field(
            "created_after",
            "created_after",
            "time",
            help="Only callbacks that were created at this time or later.",
        ),
        Field(
            "created_before",
            "created_before",
            "time",
            help="Only callbacks that were created earlier than this time.",
        ),
    ),
    "GetCallRequest": (
        Field(
            "call_id",
            "call_id",
            "text",
            is_required=True,
            help="The call.",
        ),
    ),
    "ListCallsRequest": (
        Field(
            "callback_case_id",
            "case_id",
            "text",
            is_required=True,
            help="The callback.",
        ),
        Field(
            "page_size",
            "page_size",
            "number",
            help="The maximum number of calls to return.",
        ),
        Field(
            "page_token",
            "page_token",
            "text",
            help="The `next_page_token` of the previous page.",
        ),
    ),
    "ListOwnerCallsRequest": (
        Field(
            "filter",
            "filter",
            "enum",
            of="CallFilter",
            is_required=True,
            words=(
                "waiting",
                "dead",
            ),
            help="Selects the calls.",
        ),
        Field(
            "owner",
            "owner",
            "text",
            help="The owner of the calls.",
        ),
        Field(
            "page_size",
            "page_size",
            "number",
            help="The maximum number of calls to return.",
        ),
        Field(
            "page_token",
            "page_token",
            "text",
            help="The `next_page_token` of the previous page, with the same filter, owner and activity.",
        ),
        Field(
            "callback_activity",
            "activity",
            "text",
            help="Only calls of this activity.",
        ),
    ),
    "EraseCallsRequest": (
        Field(
            "callback_case_id",
            "case_id",
            "text",
            is_required=True,
            help="The callback.",
        ),
    ),
    "ReplayCallRequest": (
        Field(
            "call_id",
            "call_id",
            "text",
            is_required=True,
            help="The call.",
        ),
    ),
    "WatchCallsRequest": (
        Field(
            "callback_activity",
            "activity",
            "text",
            help="Only events of this activity.",
        ),
        Field(
            "labels",
            "labels",
            "map",
            help="Only events of callbacks that have all of these labels.",
        ),
        Field(
            "callback_case_id",
            "case_id",
            "text",
            help="Only events of this callback.",
        ),
        Field(
            "resume_token",
            "resume_token",
            "text",
            help="The token of the last event that the client handled, or of the last message, in a watch with the "
            "same filter.",
        ),
        Field(
            "latest_only",
            "latest_only",
            "bool",
            help="For a client that only needs to know that something has changed, such as a page that loads again.",
        ),
    ),
    "PauseActivityRequest": (
        Field(
            "callback_activity",
            "activity",
            "text",
            is_required=True,
            help="The activity.",
        ),
        Field(
            "reason",
            "reason",
            "text",
            help="Says why, for other administrators: one line of at most 200 characters.",
        ),
    ),
    "ResumeActivityRequest": (
        Field(
            "callback_activity",
            "activity",
            "text",
            is_required=True,
            help="The activity.",
        ),
    ),
    "ListActivitiesRequest": (
        Field(
            "page_size",
            "page_size",
            "number",
            help="The maximum number of activities to return.",
        ),
        Field(
            "page_token",
            "page_token",
            "text",
            help="The `next_page_token` of the previous page, with the same owner.",
        ),
        Field(
            "owner",
            "owner",
            "text",
            help="The owner whose open callbacks are counted.",
        ),
    ),
    "AuditHead": (
        Field(
            "chain",
            "chain",
            "number",
            help="The number of the chain.",
        ),
        Field(
            "sequence",
            "sequence",
            "number",
            help="The number of the entry.",
        ),
        Field(
            "digest",
            "digest",
            "text",
            help="The `digest` of the entry: 64 lower-case hexadecimal digits.",
        ),
    ),
    "Response": (
        Field(
            "response_type",
            "type",
            "enum",
            of="ResponseType",
            words=(
                "redirect",
                "response",
                "page",
            ),
            help="Redirect, response or page.",
        ),
        Field(
            "response_redirect_url",
            "redirect_url",
            "text",
            help="The target of a redirect: `/path` on `platform_url` (refused where none is configured) or an "
            "absolute `http` or `https` URL.",
        ),
        Field(
            "response_body",
            "body",
            "bytes",
            help="The body, byte for byte.",
        ),
        Field(
            "response_code",
            "code",
            "number",
            help="The HTTP status: 200-299 or 400-599.",
            default="200; after a rejection 422",
        ),
        Field(
            "response_headers",
            "headers",
            "pairs",
            help="Replace, as a whole, the headers that they override.",
        ),
        Field(
            "response_heading",
            "heading",
            "text",
            help="The heading and title of a page: text, not HTML, 1-200 characters on one line.",
        ),
        Field(
            "response_text",
            "text",
            "text",
            help="The text of a page: text, not HTML, at most 2,000 characters.",
        ),
        Field(
            "response_link_label",
            "link_label",
            "text",
            help="The label of the link of a page: text on one line, at most 100 characters.",
            default="no link",
        ),
        Field(
            "response_link_url",
            "link_url",
            "text",
            help="The target of the link of a page, by the rules of `response_redirect_url`.",
        ),
    ),
    "Prompt": (
        Field(
            "title",
            "title",
            "text",
            is_required=True,
            help="The heading of the page.",
        ),
        Field(
            "text",
            "text",
            "text",
            help="Shown below the title, with its line breaks.",
        ),
        Field(
            "choices",
            "choices",
            "pairs",
            help="The buttons of the page.",
        ),
    ),
    "ResponseHeaders": (
        Field(
            "headers",
            "headers",
            "pairs",
            help="Sent in this order, with repeated names.",
        ),
    ),
    "PromptChoice": (
        Field(
            "value",
            "value",
            "text",
            help="What the handler gets as `callback_choice`. 1-64 letters, digits, `_`, `.` or `-`.",
        ),
        Field(
            "label",
            "label",
            "text",
            help="The text on the button: 1-100 characters on one line.",
        ),
    ),
    "ResponseHeader": (
        Field(
            "name",
            "name",
            "text",
            help="An RFC 9110 token of at most 256 characters.",
        ),
        Field(
            "value",
            "value",
            "text",
            help="Sent with each character as one byte (ISO-8859-1), without the spaces and tabs at its ends.",
        ),
    ),
    "GeneratedCallback": (
        Field(
            "callback_url",
            "url",
            "text",
        ),
        Field(
            "callback_state",
            "state",
            "text",
        ),
        Field(
            "callback_case_id",
            "case_id",
            "text",
        ),
        Field(
            "expire_time",
            "expire_time",
            "time",
        ),
        Field(
            "warnings",
            "warnings",
            "message",
            of="CallbackWarning",
            is_repeated=True,
        ),
    ),
    "Statistics": (
        Field(
            "minutes",
            "minutes",
            "message",
            of="MinuteStatistics",
            is_repeated=True,
        ),
        Field(
            "stages",
            "stages",
            "message",
            of="StageDuration",
            is_repeated=True,
        ),
        Field(
            "owners",
            "owners",
            "message",
            of="OwnerStatistics",
            is_repeated=True,
        ),
        Field(
            "work",
            "work",
            "message",
            of="WorkStatistics",
        ),
    ),
    "AuditEntry": (
        Field(
            "chain",
            "chain",
            "number",
        ),
        Field(
            "sequence",
            "sequence",
            "number",
        ),
        Field(
            "time",
            "time",
            "time",
        ),
        Field(
            "actor",
            "actor",
            "text",
        ),
        Field(
            "action",
            "action",
            "enum",
            of="AuditAction",
        ),
        Field(
            "owner",
            "owner",
            "text",
        ),
        Field(
            "callback_activity",
            "activity",
            "text",
        ),
        Field(
            "callback_case_id",
            "case_id",
            "text",
        ),
        Field(
            "call_id",
            "call_id",
            "text",
        ),
        Field(
            "reason",
            "reason",
            "text",
        ),
        Field(
            "details",
            "details",
            "map",
        ),
        Field(
            "digest",
            "digest",
            "text",
        ),
        Field(
            "key_id",
            "key_id",
            "text",
        ),
    ),
    "AuditChain": (
        Field(
            "chain",
            "chain",
            "number",
        ),
        Field(
            "entry_count",
            "entry_count",
            "number",
        ),
        Field(
            "first_sequence",
            "first_sequence",
            "number",
        ),
        Field(
            "head",
            "head",
            "message",
            of="AuditHead",
        ),
        Field(
            "problems",
            "problems",
            "message",
            of="AuditProblem",
            is_repeated=True,
        ),
    ),
    "CallbackWarning": (
        Field(
            "reason",
            "reason",
            "enum",
            of="WarningReason",
        ),
        Field(
            "text",
            "text",
            "text",
        ),
    ),
    "Callback": (
        Field(
            "callback_case_id",
            "case_id",
            "text",
        ),
        Field(
            "owner",
            "owner",
            "text",
        ),
        Field(
            "status",
            "status",
            "enum",
            of="CallbackStatus",
        ),
        Field(
            "close_reason",
            "close_reason",
            "enum",
            of="CloseReason",
        ),
        Field(
            "callback_activity",
            "activity",
            "text",
        ),
        Field(
            "callback_activity_case",
            "activity_case",
            "text",
        ),
        Field(
            "state_query_parameter",
            "state_query_parameter",
            "text",
        ),
        Field(
            "retryable_after_error",
            "retryable_after_error",
            "bool",
        ),
        Field(
            "allow_multiple_calls",
            "allow_multiple_calls",
            "bool",
        ),
        Field(
            "alternative_domain",
            "alternative_domain",
            "text",
        ),
        Field(
            "response",
            "response",
            "message",
            of="Response",
        ),
        Field(
            "labels",
            "labels",
            "map",
        ),
        Field(
            "create_time",
            "create_time",
            "time",
        ),
        Field(
            "expire_time",
            "expire_time",
            "time",
        ),
        Field(
            "close_time",
            "close_time",
            "time",
        ),
        Field(
            "call_count",
            "call_count",
            "number",
        ),
        Field(
            "verification_profile",
            "verification_profile",
            "text",
        ),
        Field(
            "get_guard",
            "get_guard",
            "enum",
            of="GetGuard",
            unset="OFF",
        ),
        Field(
            "answer_mode",
            "answer_mode",
            "enum",
            of="AnswerMode",
            unset="HANDLER",
        ),
        Field(
            "answer_deadline",
            "answer_deadline",
            "duration",
        ),
        Field(
            "fallback",
            "fallback",
            "message",
            of="Response",
        ),
        Field(
            "ordered",
            "ordered",
            "bool",
        ),
        Field(
            "hold_time",
            "hold_time",
            "duration",
        ),
        Field(
            "repeat_window",
            "repeat_window",
            "duration",
            unset="0s",
        ),
        Field(
            "no_repeat",
            "no_repeat",
            "bool",
        ),
        Field(
            "resolved",
            "resolved",
            "bool",
        ),
        Field(
            "closed_response",
            "closed_response",
            "message",
            of="Response",
        ),
        Field(
            "prompt",
            "prompt",
            "message",
            of="Prompt",
        ),
        Field(
            "remind_after",
            "remind_after",
            "duration",
            is_repeated=True,
        ),
        Field(
            "notify",
            "notify",
            "enum",
            of="CallReason",
            is_repeated=True,
        ),
        Field(
            "notifications",
            "notifications",
            "message",
            of="Call",
            is_repeated=True,
        ),
    ),
    "Call": (
        Field(
            "call_id",
            "call_id",
            "text",
        ),
        Field(
            "callback_case_id",
            "case_id",
            "text",
        ),
        Field(
            "status",
            "status",
            "enum",
            of="CallStatus",
            unset="UNKNOWN",
        ),
        Field(
            "failure",
            "failure",
            "enum",
            of="CallFailure",
        ),
        Field(
            "failure_detail",
            "failure_detail",
            "text",
        ),
        Field(
            "attempt",
            "attempt",
            "number",
        ),
        Field(
            "request_method",
            "method",
            "text",
        ),
        Field(
            "request_headers",
            "headers",
            "pairs",
        ),
        Field(
            "request_query",
            "query",
            "pairs",
        ),
        Field(
            "request_query_string",
            "query_string",
            "text",
        ),
        Field(
            "request_body",
            "body",
            "bytes",
        ),
        Field(
            "request_body_size",
            "body_size",
            "number",
        ),
        Field(
            "client_address",
            "client_address",
            "text",
        ),
        Field(
            "response",
            "response",
            "message",
            of="Response",
        ),
        Field(
            "keep_open",
            "keep_open",
            "bool",
        ),
        Field(
            "close",
            "close",
            "bool",
        ),
        Field(
            "start_time",
            "start_time",
            "time",
        ),
        Field(
            "end_time",
            "end_time",
            "time",
        ),
        Field(
            "erased",
            "erased",
            "bool",
        ),
        Field(
            "verification_profile",
            "verification_profile",
            "text",
        ),
        Field(
            "message_id",
            "message_id",
            "text",
        ),
        Field(
            "verification_failure",
            "verification_failure",
            "text",
        ),
        Field(
            "delivery",
            "delivery",
            "message",
            of="Delivery",
        ),
        Field(
            "fallback_sent",
            "fallback_sent",
            "bool",
        ),
        Field(
            "caller_gone",
            "caller_gone",
            "bool",
        ),
        Field(
            "repeat_count",
            "repeat_count",
            "number",
        ),
        Field(
            "callback_choice",
            "choice",
            "text",
        ),
        Field(
            "reason",
            "reason",
            "enum",
            of="CallReason",
            unset="CALL",
        ),
        Field(
            "answered_by",
            "answered_by",
            "text",
        ),
    ),
    "CallEvent": (
        Field(
            "type",
            "type",
            "enum",
            of="CallEventType",
        ),
        Field(
            "callback_case_id",
            "case_id",
            "text",
        ),
        Field(
            "call_id",
            "call_id",
            "text",
        ),
        Field(
            "callback_activity",
            "activity",
            "text",
        ),
        Field(
            "owner",
            "owner",
            "text",
        ),
        Field(
            "time",
            "time",
            "time",
        ),
        Field(
            "case_status",
            "case_status",
            "enum",
            of="CallbackStatus",
        ),
        Field(
            "close_reason",
            "close_reason",
            "enum",
            of="CloseReason",
        ),
        Field(
            "call_status",
            "call_status",
            "enum",
            of="CallStatus",
        ),
        Field(
            "delivery_status",
            "delivery_status",
            "enum",
            of="DeliveryStatus",
        ),
        Field(
            "resume_token",
            "resume_token",
            "text",
        ),
        Field(
            "reason",
            "reason",
            "enum",
            of="CallReason",
        ),
    ),
    "PausedActivity": (
        Field(
            "callback_activity",
            "activity",
            "text",
        ),
        Field(
            "principal",
            "principal",
            "text",
        ),
        Field(
            "reason",
            "reason",
            "text",
        ),
        Field(
            "pause_time",
            "pause_time",
            "time",
        ),
    ),
    "Activity": (
        Field(
            "callback_activity",
            "activity",
            "text",
        ),
        Field(
            "kind",
            "kind",
            "enum",
            of="ActivityKind",
        ),
        Field(
            "worker_count",
            "worker_count",
            "number",
        ),
        Field(
            "paused",
            "paused",
            "bool",
        ),
        Field(
            "delivery_count",
            "delivery_count",
            "number",
        ),
        Field(
            "open_callback_count",
            "open_callback_count",
            "number",
        ),
        Field(
            "notification_worker_count",
            "notification_worker_count",
            "number",
        ),
    ),
    "MinuteStatistics": (
        Field(
            "start_time",
            "start_time",
            "time",
        ),
        Field(
            "duration",
            "duration",
            "duration",
            unset="0s",
        ),
        Field(
            "outcomes",
            "outcomes",
            "message",
            of="OutcomeCount",
            is_repeated=True,
        ),
        Field(
            "refusals",
            "refusals",
            "message",
            of="RefusalCount",
            is_repeated=True,
        ),
        Field(
            "stages",
            "stages",
            "message",
            of="StageDuration",
            is_repeated=True,
        ),
        Field(
            "work",
            "work",
            "message",
            of="WorkStatistics",
        ),
    ),
    "StageDuration": (
        Field(
            "stage",
            "stage",
            "text",
        ),
        Field(
            "count",
            "count",
            "number",
        ),
        Field(
            "median",
            "median",
            "duration",
            unset="0s",
        ),
        Field(
            "p95",
            "p95",
            "duration",
            unset="0s",
        ),
        Field(
            "p99",
            "p99",
            "duration",
            unset="0s",
        ),
    ),
    "OwnerStatistics": (
        Field(
            "owner",
            "owner",
            "text",
        ),
        Field(
            "open_callback_count",
            "open_callback_count",
            "number",
        ),
        Field(
            "waiting_call_count",
            "waiting_call_count",
            "number",
        ),
        Field(
            "dead_call_count",
            "dead_call_count",
            "number",
        ),
    ),
    "WorkStatistics": (
        Field(
            "open_callback_count",
            "open_callback_count",
            "number",
        ),
        Field(
            "waiting_call_count",
            "waiting_call_count",
            "number",
        ),
        Field(
            "dead_call_count",
            "dead_call_count",
            "number",
        ),
        Field(
            "delivery_count",
            "delivery_count",
            "number",
        ),
        Field(
            "delivery_delay",
            "delivery_delay",
            "duration",
            unset="0s",
        ),
    ),
    "Finding": (
        Field(
            "check",
            "check",
            "text",
        ),
        Field(
            "level",
            "level",
            "enum",
            of="FindingLevel",
        ),
        Field(
            "seen",
            "seen",
            "text",
        ),
        Field(
            "advice",
            "advice",
            "text",
        ),
    ),
    "AuditProblem": (
        Field(
            "kind",
            "kind",
            "enum",
            of="AuditProblemKind",
        ),
        Field(
            "sequence",
            "sequence",
            "number",
        ),
        Field(
            "text",
            "text",
            "text",
        ),
    ),
    "Header": (
        Field(
            "name",
            "name",
            "text",
        ),
        Field(
            "value",
            "value",
            "text",
        ),
    ),
    "QueryParameter": (
        Field(
            "name",
            "name",
            "text",
        ),
        Field(
            "value",
            "value",
            "text",
        ),
    ),
    "Delivery": (
        Field(
            "status",
            "status",
            "enum",
            of="DeliveryStatus",
        ),
        Field(
            "attempts",
            "attempts",
            "number",
        ),
        Field(
            "next_attempt_time",
            "next_attempt_time",
            "time",
        ),
        Field(
            "failure",
            "failure",
            "enum",
            of="CallFailure",
        ),
        Field(
            "failure_detail",
            "failure_detail",
            "text",
        ),
        Field(
            "response",
            "response",
            "message",
            of="Response",
        ),
        Field(
            "paused",
            "paused",
            "bool",
        ),
    ),
    "OutcomeCount": (
        Field(
            "call_status",
            "status",
            "enum",
            of="CallStatus",
        ),
        Field(
            "call_failure",
            "failure",
            "enum",
            of="CallFailure",
        ),
        Field(
            "count",
            "count",
            "number",
        ),
    ),
    "RefusalCount": (
        Field(
            "reason",
            "reason",
            "text",
        ),
        Field(
            "count",
            "count",
            "number",
        ),
    ),
}
