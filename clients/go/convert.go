package callback

import (
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	v1 "callback.example/callback/internal/v1"
)

func callbackOf(message *v1.Callback) *Callback {
	if message == nil {
		message = &v1.Callback{}
	}
	return &Callback{
		CaseID:              message.GetCallbackCaseId(),
		Owner:               message.GetOwner(),
		Status:              wordOf[CallbackStatus](message.GetStatus()),
		CloseReason:         wordOf[CloseReason](message.GetCloseReason()),
		Activity:            message.GetCallbackActivity(),
		ActivityCase:        message.GetCallbackActivityCase(),
		StateQueryParameter: message.GetStateQueryParameter(),
		RetryableAfterError: message.GetRetryableAfterError(),
		AllowMultipleCalls:  message.GetAllowMultipleCalls(),
		AlternativeDomain:   message.GetAlternativeDomain(),
		Response:            responseOf(message.GetResponse()),
		Labels:              message.GetLabels(),
		CreateTime:          timeOf(message.GetCreateTime()),
		ExpireTime:          timeOf(message.GetExpireTime()),
		CloseTime:           timeOf(message.GetCloseTime()),
		CallCount:           message.GetCallCount(),
		VerificationProfile: message.GetVerificationProfile(),
		GetGuard:            or(wordOf[GetGuard](message.GetGetGuard()), GuardOff),
		AnswerMode:          or(wordOf[AnswerMode](message.GetAnswerMode()), ModeHandler),
		AnswerDeadline:      message.GetAnswerDeadline().AsDuration(),
		Fallback:            responseOf(message.GetFallback()),
		Ordered:             message.GetOrdered(),
		ClosedResponse:      responseOf(message.GetClosedResponse()),
		Prompt:              promptOf(message.GetPrompt()),
		HoldTime:            message.GetHoldTime().AsDuration(),
		RepeatWindow:        message.GetRepeatWindow().AsDuration(),
		NoRepeat:            message.GetNoRepeat(),
		Resolved:            message.GetResolved(),
		RemindAfter:         each(message.GetRemindAfter(), (*durationpb.Duration).AsDuration),
		Notify:              each(message.GetNotify(), reasonOf),
		Notifications:       each(message.GetNotifications(), recordedCallOf),
	}
}

func generatedOf(message *v1.GenerateCallbackUrlResponse) *GeneratedCallback {
	return &GeneratedCallback{
		URL:        message.GetCallbackUrl(),
		State:      message.GetCallbackState(),
		CaseID:     message.GetCallbackCaseId(),
		ExpireTime: timeOf(message.GetExpireTime()),
		Warnings: each(message.GetWarnings(), func(warning *v1.Warning) Warning {
			return Warning{
				Reason: or(wordOf[WarningReason](warning.GetReason()), WarningReasonUnknown),
				Text:   warning.GetText(),
			}
		}),
	}
}

func recordedCallOf(message *v1.Call) *RecordedCall {
	if message == nil {
		message = &v1.Call{}
	}
	return &RecordedCall{
		Request:             requestOf(message, message.GetCallbackCaseId()),
		Status:              wordOf[CallStatus](message.GetStatus()),
		Reason:              reasonOf(message.GetReason()),
		Failure:             wordOf[CallFailure](message.GetFailure()),
		FailureDetail:       message.GetFailureDetail(),
		BodySize:            message.GetRequestBodySize(),
		VerificationFailure: message.GetVerificationFailure(),
		Response:            responseOf(message.GetResponse()),
		KeepOpen:            message.GetKeepOpen(),
		Close:               message.GetClose(),
		Erased:              message.GetErased(),
		StartTime:           timeOf(message.GetStartTime()),
		EndTime:             timeOf(message.GetEndTime()),
		Delivery:            deliveryOf(message.GetDelivery()),
		FallbackSent:        message.GetFallbackSent(),
		RepeatCount:         message.GetRepeatCount(),
		CallerGone:          message.GetCallerGone(),
		AnsweredBy:          message.GetAnsweredBy(),
	}
}

// received is a message with the request of a caller.
type received interface {
	GetCallId() string
	GetAttempt() int64
	GetRequestMethod() string
	GetRequestHeaders() []*v1.Header
	GetRequestQuery() []*v1.QueryParameter
	GetRequestQueryString() string
	GetRequestBody() []byte
	GetClientAddress() string
	GetVerificationProfile() string
	GetMessageId() string
	GetCallbackChoice() string
}

func requestOf(message received, caseID string) Request {
	return Request{
		CallID:              message.GetCallId(),
		CaseID:              caseID,
		Attempt:             message.GetAttempt(),
		Method:              message.GetRequestMethod(),
		Headers:             each(message.GetRequestHeaders(), pairOf[*v1.Header]),
		Query:               each(message.GetRequestQuery(), pairOf[*v1.QueryParameter]),
		QueryString:         message.GetRequestQueryString(),
		Body:                message.GetRequestBody(),
		ClientAddress:       message.GetClientAddress(),
		VerificationProfile: message.GetVerificationProfile(),
		MessageID:           message.GetMessageId(),
		Choice:              message.GetCallbackChoice(),
	}
}

func deliveryOf(message *v1.Delivery) *Delivery {
	if message == nil {
		return nil
	}
	return &Delivery{
		Status:          wordOf[DeliveryStatus](message.GetStatus()),
		Attempts:        message.GetAttempts(),
		NextAttemptTime: timeOf(message.GetNextAttemptTime()),
		Failure:         wordOf[CallFailure](message.GetFailure()),
		FailureDetail:   message.GetFailureDetail(),
		Response:        responseOf(message.GetResponse()),
		Paused:          message.GetPaused(),
	}
}

func callOf(message *v1.HandleCallbackRequest, deadline time.Time) *Call {
	return &Call{
		Request:      requestOf(message, message.GetCallbackSystemCase()),
		Activity:     message.GetCallbackActivity(),
		ActivityCase: message.GetCallbackActivityCase(),
		Response:     responseOf(message.GetResponse()),
		Labels:       message.GetLabels(),
		Deadline:     deadline,
		Replayed:     message.GetReplayed(),
		Owner:        message.GetOwner(),
		Traceparent:  message.GetTraceparent(),
	}
}

func notificationOf(message *v1.HandleCallbackRequest, deadline time.Time) *Notification {
	return &Notification{
		Reason:       reasonOf(message.GetReason()),
		CallID:       message.GetCallId(),
		CaseID:       message.GetCallbackSystemCase(),
		Activity:     message.GetCallbackActivity(),
		ActivityCase: message.GetCallbackActivityCase(),
		Labels:       message.GetLabels(),
		Attempt:      message.GetAttempt(),
		Deadline:     deadline,
		Replayed:     message.GetReplayed(),
		Owner:        message.GetOwner(),
		Traceparent:  message.GetTraceparent(),
	}
}

// deadlineOf returns the deadline by the clock of this machine, of a request that has just arrived. Without a timeout, the
// server's own time is all there is.
func deadlineOf(message *v1.HandleCallbackRequest) time.Time {
	if message.GetTimeout() != nil {
		return time.Now().Add(message.GetTimeout().AsDuration())
	}
	return timeOf(message.GetDeadline())
}

func eventOf(message *v1.CallEvent) Event {
	return Event{
		Type:           or(wordOf[EventType](message.GetType()), EventTypeUnknown),
		CaseID:         message.GetCallbackCaseId(),
		CallID:         message.GetCallId(),
		Activity:       message.GetCallbackActivity(),
		Owner:          message.GetOwner(),
		Time:           timeOf(message.GetTime()),
		CaseStatus:     wordOf[CallbackStatus](message.GetCaseStatus()),
		CloseReason:    wordOf[CloseReason](message.GetCloseReason()),
		CallStatus:     wordOf[CallStatus](message.GetCallStatus()),
		DeliveryStatus: wordOf[DeliveryStatus](message.GetDeliveryStatus()),
		ResumeToken:    message.GetResumeToken(),
		Reason:         wordOf[CallReason](message.GetReason()),
	}
}

func activityOf(message *v1.Activity) Activity {
	return Activity{
		Name:                    message.GetCallbackActivity(),
		Kind:                    wordOf[ActivityKind](message.GetKind()),
		WorkerCount:             message.GetWorkerCount(),
		Paused:                  message.GetPaused(),
		DeliveryCount:           message.GetDeliveryCount(),
		OpenCallbackCount:       message.GetOpenCallbackCount(),
		NotificationWorkerCount: message.GetNotificationWorkerCount(),
	}
}

func pausedActivityOf(message *v1.PausedActivity) PausedActivity {
	return PausedActivity{
		Name:      message.GetCallbackActivity(),
		Principal: message.GetPrincipal(),
		Reason:    message.GetReason(),
		PauseTime: timeOf(message.GetPauseTime()),
	}
}

func findingOf(message *v1.Finding) Finding {
	return Finding{
		Check:  message.GetCheck(),
		Level:  wordOf[FindingLevel](message.GetLevel()),
		Seen:   message.GetSeen(),
		Advice: message.GetAdvice(),
	}
}

func statisticsOf(message *v1.GetStatisticsResponse) *Statistics {
	return &Statistics{
		Minutes: each(message.GetMinutes(), minuteOf),
		Stages:  each(message.GetStages(), stageOf),
		Owners: each(message.GetOwners(), func(owner *v1.OwnerStatistics) OwnerStatistics {
			return OwnerStatistics{
				Owner:             owner.GetOwner(),
				OpenCallbackCount: owner.GetOpenCallbackCount(),
				WaitingCallCount:  owner.GetWaitingCallCount(),
				DeadCallCount:     owner.GetDeadCallCount(),
			}
		}),
		Work: workOf(message.GetWork()),
	}
}

func minuteOf(message *v1.MinuteStatistics) MinuteStatistics {
	minute := MinuteStatistics{
		StartTime: timeOf(message.GetStartTime()),
		Duration:  message.GetDuration().AsDuration(),
		Outcomes: each(message.GetOutcomes(), func(outcome *v1.OutcomeCount) OutcomeCount {
			return OutcomeCount{
				Status:  wordOf[CallStatus](outcome.GetCallStatus()),
				Failure: wordOf[CallFailure](outcome.GetCallFailure()),
				Count:   outcome.GetCount(),
			}
		}),
		Refusals: map[Reason]int64{},
		Stages:   each(message.GetStages(), stageOf),
	}
	for _, refusal := range message.GetRefusals() {
		minute.Refusals[Reason(refusal.GetReason())] = refusal.GetCount()
	}
	if message.GetWork() != nil {
		work := workOf(message.GetWork())
		minute.Work = &work
	}
	return minute
}

func stageOf(message *v1.StageDuration) StageDuration {
	return StageDuration{
		Stage:  message.GetStage(),
		Count:  message.GetCount(),
		Median: message.GetMedian().AsDuration(),
		P95:    message.GetP95().AsDuration(),
		P99:    message.GetP99().AsDuration(),
	}
}

func workOf(message *v1.WorkStatistics) WorkStatistics {
	return WorkStatistics{
		OpenCallbackCount: message.GetOpenCallbackCount(),
		WaitingCallCount:  message.GetWaitingCallCount(),
		DeadCallCount:     message.GetDeadCallCount(),
		DeliveryCount:     message.GetDeliveryCount(),
		DeliveryDelay:     message.GetDeliveryDelay().AsDuration(),
	}
}

func responseOf(message *v1.Response) *Response {
	if message == nil {
		return nil
	}
	response := &Response{
		Type:        wordOf[ResponseType](message.GetResponseType()),
		RedirectURL: message.GetResponseRedirectUrl(),
		Body:        message.ResponseBody,
		Code:        int(message.GetResponseCode()),
		Heading:     message.GetResponseHeading(),
		Text:        message.GetResponseText(),
		LinkLabel:   message.GetResponseLinkLabel(),
		LinkURL:     message.GetResponseLinkUrl(),
	}
	if message.GetResponseHeaders() != nil {
		response.Headers = Headers{}
		for _, header := range message.GetResponseHeaders().GetHeaders() {
			response.Headers = append(response.Headers, pairOf(header))
		}
	}
	return response
}

func responseMessage(response *Response) *v1.Response {
	if response == nil {
		return nil
	}
	message := &v1.Response{
		ResponseType:        numberOf[v1.ResponseType](response.Type),
		ResponseRedirectUrl: given(response.RedirectURL),
		ResponseBody:        response.Body,
		ResponseHeading:     given(response.Heading),
		ResponseText:        given(response.Text),
		ResponseLinkLabel:   given(response.LinkLabel),
		ResponseLinkUrl:     given(response.LinkURL),
	}
	if response.Code != 0 {
		// The server refuses a code that is none: a larger one must not become one by losing its upper bits.
		message.ResponseCode = proto.Int32(int32(min(max(response.Code, -1), math.MaxInt32)))
	}
	if response.Headers != nil {
		message.ResponseHeaders = &v1.ResponseHeaders{}
		for _, header := range response.Headers {
			field := &v1.ResponseHeader{Name: header.Name, Value: header.Value}
			message.ResponseHeaders.Headers = append(message.ResponseHeaders.Headers, field)
		}
	}
	for _, field := range response.Empty {
		switch field {
		case FieldText:
			message.ResponseText = proto.String("")
		case FieldLinkLabel:
			message.ResponseLinkLabel = proto.String("")
		}
	}
	return message
}

func decisionOf(answer Answer) *v1.HandleCallbackResponse {
	verdict := v1.Verdict_VERDICT_ACCEPTED
	if answer.Rejected {
		verdict = v1.Verdict_VERDICT_REJECTED
	}
	return &v1.HandleCallbackResponse{
		Verdict:  verdict,
		Response: responseMessage(answer.Response),
		KeepOpen: answer.KeepOpen,
		Close:    answer.Close,
		NoRepeat: answer.NoRepeat,
	}
}

func promptOf(message *v1.Prompt) *Prompt {
	if message == nil {
		return nil
	}
	return &Prompt{
		Title: message.GetTitle(),
		Text:  message.GetText(),
		Choices: each(message.GetChoices(), func(choice *v1.PromptChoice) Choice {
			return Choice{Value: choice.GetValue(), Label: choice.GetLabel()}
		}),
	}
}

func promptMessage(prompt Prompt) *v1.Prompt {
	return &v1.Prompt{
		Title: prompt.Title,
		Text:  prompt.Text,
		Choices: each(prompt.Choices, func(choice Choice) *v1.PromptChoice {
			return &v1.PromptChoice{Value: choice.Value, Label: choice.Label}
		}),
	}
}

// invalidText returns the path of a text of a message that is not UTF-8, which gRPC cannot send. Empty if there is none.
func invalidText(message protoreflect.Message) (path string) {
	isText := func(value any) bool {
		text, ok := value.(string)
		return !ok || utf8.ValidString(text)
	}
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		name := string(field.Name())
		inside := func(place string, value protoreflect.Value) {
			if message, ok := value.Interface().(protoreflect.Message); ok {
				if deeper := invalidText(message); deeper != "" {
					path = place + "." + deeper
				}
			} else if !isText(value.Interface()) {
				path = place
			}
		}
		switch {
		case field.IsMap():
			value.Map().Range(func(key protoreflect.MapKey, value protoreflect.Value) bool {
				if !isText(key.Interface()) {
					path = name
				} else {
					inside(fmt.Sprintf("%s[%q]", name, key.String()), value)
				}
				return path == ""
			})
		case field.IsList():
			for index := 0; index < value.List().Len() && path == ""; index++ {
				inside(fmt.Sprintf("%s[%d]", name, index), value.List().Get(index))
			}
		default:
			inside(name, value)
		}
		return path == ""
	})
	return path
}

func pairOf[Message interface {
	GetName() string
	GetValue() string
}](message Message) Pair {
	return Pair{Name: message.GetName(), Value: message.GetValue()}
}

// reasonOf returns a reason. A server of the release before sends none, and knows calls alone.
func reasonOf(number v1.CallReason) CallReason {
	return or(wordOf[CallReason](number), OfCall)
}

func timeOf(timestamp *timestamppb.Timestamp) time.Time {
	if timestamp == nil {
		return time.Time{}
	}
	return timestamp.AsTime()
}

func timestampOf(given time.Time) *timestamppb.Timestamp {
	if given.IsZero() {
		return nil
	}
	return timestamppb.New(given)
}

func given(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

func or[Word ~string](word, otherwise Word) Word {
	if word == "" {
		return otherwise
	}
	return word
}

func each[From, To any](items []From, convert func(From) To) []To {
	if items == nil {
		return nil
	}
	converted := make([]To, len(items))
	for index, item := range items {
		converted[index] = convert(item)
	}
	return converted
}
